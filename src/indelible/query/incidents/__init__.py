"""What was called before something went wrong: signs of it in the lines, and the calls around each."""
