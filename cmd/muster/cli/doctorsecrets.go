package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/muster-mdm/muster/apple/mdm"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
)

const (
	keyringHint = "Make a key by muster keyring new, set MUSTER_KEYRING or MUSTER_KEYRING_FILE, keep a copy apart from the database, and run muster keyring rotate."
	openHint    = "Set MUSTER_KEYRING to the keys that sealed it."
)

// examineSecrets warns of what lies in clear, and fails for what can't be opened.
func examineSecrets(ctx context.Context, db *store.DB, ring *keyring.Keyring) finding {
	const what = "Secrets"
	secrets, err := db.Secrets(ctx)
	if err != nil {
		return finding{what, err, openHint, false}
	}
	storage, err := mdm.NewStorage(db.NanoMDM(), slog.New(slog.DiscardHandler), sealedBy(ring)...)
	if err != nil {
		return finding{what, err, openHint, false}
	}
	pushKeys, err := storage.ClearKeys(ctx)
	if err != nil {
		return finding{what, err, openHint, false}
	}
	if pushKeys > 0 {
		secrets.Clear = append(secrets.Clear, "push_certs/key_pem")
	}
	switch {
	case ring == nil:
		return finding{what, errors.New("no keyring is set, so keys lie in clear in the database, and no server of Apple Business Manager can be linked"), keyringHint, true}
	case len(secrets.Clear) > 0:
		return finding{what, fmt.Errorf("in clear in the database: %s", strings.Join(secrets.Clear, ", ")), "Run muster keyring rotate.", true}
	case secrets.Old > 0:
		return finding{what, fmt.Errorf("sealed by an older key than the keyring's first: %d", secrets.Old), "Run muster keyring rotate before you take that key out.", true}
	}
	return finding{what: what}
}

func sealedBy(ring *keyring.Keyring) []mdm.Option {
	if ring == nil {
		return nil
	}
	return []mdm.Option{mdm.WithSealer(ring)}
}
