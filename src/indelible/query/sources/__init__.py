"""Where records are read back from, whatever carried them there: files, directories, standard input, a topic."""
