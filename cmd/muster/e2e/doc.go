// Package e2e holds the tests that run muster whole, in processes of its own, on real servers and with virtual devices, and
// that kill and stop parts of it meanwhile.
package e2e
