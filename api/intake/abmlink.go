package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-mdm/muster/apple/abm"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

func (i *Intake) newABMKeys() (certificate, key []byte, err error) {
	return dep.NewKeyPair(i.settings.Organization, i.db.Now())
}

// RenewABMKeys replaces the key pair that a server's tokens are encrypted for. The token that is linked stays good; the
// next one must be downloaded for the new certificate.
func (i *Intake) RenewABMKeys(ctx context.Context, name string) (store.ABMServer, error) {
	return i.db.RenewABMKeys(ctx, name, i.newABMKeys)
}

// LinkABM links a server by the token that Apple gave, as it was downloaded, or renews the link (R84). It fails with
// [provision.ABMTokenInvalid], [provision.ABMTokenForeignKey], and with [store.ABMTokenOther] when the token belongs to
// another server at Apple than the last and force isn't set.
func (i *Intake) LinkABM(ctx context.Context, name string, p7m []byte, force bool) (store.ABMServer, error) {
	return i.db.LinkABM(ctx, name, force, func(certificate, key []byte) (store.ABMToken, error) {
		token, err := dep.OpenToken(p7m, certificate, key)
		if err != nil {
			return store.ABMToken{}, err
		}
		if !token.Expiry.After(i.db.Now()) {
			return store.ABMToken{}, provision.Errorf(provision.ABMTokenInvalid, "The server token expired on %s. Download a new one in Apple Business Manager and upload that.", token.Expiry.Format(time.DateOnly))
		}
		secret, err := json.Marshal(token) //nolint:gosec // the store seals it
		if err != nil {
			return store.ABMToken{}, fmt.Errorf("writing a server token: %w", err)
		}
		return store.ABMToken{ConsumerKey: token.ConsumerKey, ExpiresAt: token.Expiry, Secret: secret}, nil
	})
}

// PutABMBusiness gives a server the API account by which devices are unassigned and released. It fails with
// [provision.ABMAccountInvalid] and the field.
func (i *Intake) PutABMBusiness(ctx context.Context, name string, a abm.Account) (store.ABMServer, error) {
	if err := abm.CheckAccount(a); err != nil {
		return store.ABMServer{}, err
	}
	return i.db.PutABMBusiness(ctx, name, a.ClientID, a.KeyID, a.PrivateKeyPEM)
}

// DeleteABMBusiness takes a server's API account away; without one nothing changes.
func (i *Intake) DeleteABMBusiness(ctx context.Context, name string) (store.ABMServer, error) {
	return i.db.PutABMBusiness(ctx, name, "", "", nil)
}
