module example.com/indelible-client

go 1.22
