module waitgroup/bench

go 1.19

// The newest that the Go of Debian 12 can build; later ones have the same algorithm.
require golang.org/x/sync v0.11.0
