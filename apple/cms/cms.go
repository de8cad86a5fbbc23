// Package cms reads cryptographic messages (RFC 5652) that anybody may have written. The library underneath trusts its
// input: it reads overlapping parts again and again, which takes for ever, and indexes past the end, which panics.
package cms

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/smallstep/pkcs7"
)

// Parse reads a message, in DER or BER, whose parts lie within each other as they must, and whose signature can be
// verified at a bearable cost. Nothing of it is verified.
func Parse(ber []byte) (*pkcs7.PKCS7, error) {
	if err := check(ber); err != nil {
		return nil, err
	}
	var message *pkcs7.PKCS7
	err := Safely(func() (err error) {
		message, err = pkcs7.Parse(ber)
		return err
	})
	if err != nil {
		return nil, err
	}
	return message, bearable(message)
}

// maxKeyBits is the largest RSA key that is used anywhere; verifying by one of a hundred thousand bits takes seconds.
const maxKeyBits = 8192

func bearable(message *pkcs7.PKCS7) error {
	if len(message.Signers) > 1 {
		return errors.New("the message has more than one signer")
	}
	for _, c := range message.Certificates {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxKeyBits {
			return fmt.Errorf("the message has a certificate with a key of %d bits", key.N.BitLen())
		}
	}
	return nil
}

// Safely runs something on a message that is not trusted, and returns a panic as an error.
func Safely(run func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the message breaks its reader: %v", r)
		}
	}()
	return run()
}

// maxDepth is far beyond what a message with its certificates needs, some 15.
const maxDepth = 64

var errForm = errors.New("the message is not well-formed BER")

// check walks once over the outer structure. It takes less than BER allows, and nothing that the library would read
// otherwise than it does itself: tags of one byte, lengths of at most four, no empty parts of indefinite length.
func check(ber []byte) error {
	_, err := element(ber, 0, maxDepth)
	return err
}

const (
	constructed = 0x20
	longTag     = 0x1f
	indefinite  = 0x80
)

// element checks one element at an offset and returns where it ends.
func element(ber []byte, at, depth int) (end int, err error) {
	if depth == 0 || len(ber)-at < 2 || ber[at]&longTag == longTag {
		return 0, errForm
	}
	nested := ber[at]&constructed != 0
	first := ber[at+1]
	if first == indefinite {
		if !nested {
			return 0, errForm
		}
		return untilMark(ber, at+2, depth)
	}
	start, size, err := length(ber, at+1)
	if err != nil || size > len(ber)-start {
		return 0, errForm
	}
	end = start + size
	if !nested {
		return end, nil
	}
	for at = start; at < end; {
		if at, err = element(ber[:end], at, depth-1); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// untilMark checks elements up to the two zero bytes that end an indefinite length.
func untilMark(ber []byte, at, depth int) (end int, err error) {
	for {
		if at, err = element(ber, at, depth-1); err != nil {
			return 0, err
		}
		if len(ber)-at < 2 {
			return 0, errForm
		}
		if ber[at] == 0 && ber[at+1] == 0 {
			return at + 2, nil
		}
	}
}

// length reads the length at an offset and returns where the content starts.
func length(ber []byte, at int) (start, size int, err error) {
	const most = 4
	first := int(ber[at])
	if first < indefinite {
		return at + 1, first, nil
	}
	n := first & 0x7f
	if n > most || len(ber)-at-1 < n || ber[at+1] == 0 {
		return 0, 0, errForm
	}
	for _, b := range ber[at+1 : at+1+n] {
		size = size<<8 | int(b)
	}
	if size > 1<<31-1 {
		return 0, 0, errForm
	}
	return at + 1 + n, size, nil
}
