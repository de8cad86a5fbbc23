package sim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"runtime"
	"sync"
)

// KeyPool makes RSA keys ahead of need, because making them is the dearest part of a large rehearsal.
// It is safe for concurrent use.
type KeyPool struct {
	bits     int
	distinct int

	mu   sync.Mutex
	keys []*rsa.PrivateKey // ready, not yet handed out; with distinct set, all keys
	next int
	made int // keys made or under way
}

// NewKeyPool returns a pool of keys of so many bits (at least 1024). With distinct above 0 the pool hands out
// no more different keys than that, in turn, so that devices share keys though never certificates; with 0 each key
// is handed out once.
func NewKeyPool(bits, distinct int) *KeyPool {
	return &KeyPool{bits: bits, distinct: distinct}
}

// Fill makes n keys on all processors, or fewer when that many are ready or distinct keys are limited.
func (p *KeyPool) Fill(ctx context.Context, n int) error {
	errs := make(chan error, 1)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for ctx.Err() == nil && p.claim(n) {
				if err := p.add(); err != nil {
					select {
					case errs <- err:
					default:
					}
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// claim reserves the making of one more key towards n ready ones.
func (p *KeyPool) claim(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made >= n || p.distinct > 0 && p.made >= p.distinct {
		return false
	}
	p.made++
	return true
}

func (p *KeyPool) add() error {
	key, err := generateKey(p.bits)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, key)
	return nil
}

// Get hands out a key, making it when none is ready.
func (p *KeyPool) Get() (*rsa.PrivateKey, error) {
	if key := p.ready(); key != nil {
		return key, nil
	}
	key, err := generateKey(p.bits)
	if err != nil {
		return nil, err
	}
	if p.distinct == 0 {
		return key, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.keys) < p.distinct {
		p.keys = append(p.keys, key)
		return key, nil
	}
	return p.inTurn(), nil // another caller was faster
}

func (p *KeyPool) inTurn() *rsa.PrivateKey {
	p.next++
	return p.keys[p.next%len(p.keys)]
}

func (p *KeyPool) ready() *rsa.PrivateKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.distinct > 0 {
		if len(p.keys) < p.distinct && p.made < p.distinct {
			p.made++
			return nil
		}
		if len(p.keys) == 0 {
			return nil
		}
		return p.inTurn()
	}
	if len(p.keys) == 0 {
		return nil
	}
	key := p.keys[len(p.keys)-1]
	p.keys = p.keys[:len(p.keys)-1]
	p.made--
	return key
}

func generateKey(bits int) (*rsa.PrivateKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("generating RSA key of %d bits: %w", bits, err)
	}
	return key, nil
}
