// The module of the SDK of the previous minor, as it was. Its tests build it with the go.mod and go.sum of the tree around it.
module github.com/service-islands/islands

go 1.26.0
