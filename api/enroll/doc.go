// Package enroll gives devices what they need to enroll.
package enroll
