// The Go guests: one folder a program, standard library only.
module timecraft/testdata

go 1.24
