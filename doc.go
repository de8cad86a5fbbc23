// Package muster is the root of Muster's source tree and holds no code: the program is cmd/muster, and layout_test.go here keeps the
// rooms of the house in order.
package muster
