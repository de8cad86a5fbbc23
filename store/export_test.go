package store

import (
	"context"
	"fmt"

	"github.com/pressly/goose/v3"
)

// SweepChunk is how many devices are compared at a time.
const SweepChunk = sweepChunk

// MigrateDown takes all migrations back.
func MigrateDown(ctx context.Context, url string) error {
	_, err := withProvider(url, func(p *goose.Provider) ([]Migration, error) {
		if _, err := p.DownTo(ctx, 0); err != nil {
			return nil, fmt.Errorf("migrating down: %w", err)
		}
		return nil, nil
	})
	return err
}

// MigrateTo migrates up or down to a version.
func MigrateTo(ctx context.Context, url string, version int64) error {
	_, err := withProvider(url, func(p *goose.Provider) ([]Migration, error) {
		at, err := p.GetDBVersion(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the version: %w", err)
		}
		if at < version {
			_, err = p.UpTo(ctx, version)
		} else {
			_, err = p.DownTo(ctx, version)
		}
		if err != nil {
			return nil, fmt.Errorf("migrating to %d: %w", version, err)
		}
		return nil, nil
	})
	return err
}

// NamedRules are the constraints whose breach has a meaning to people, with that meaning's code.
func NamedRules() map[string]string {
	rules := map[string]string{}
	for name, e := range byConstraint {
		rules[name] = string(e.Code)
	}
	return rules
}

// Translate is what every method does to a driver's error.
func Translate(err error) error { return translate(err, "testing") }

// HotQueries are the statements of check-ins, by name; $1 and on are given by the test.
var HotQueries = map[string]string{
	"lockDevice":          lockDevice,
	"deviceState":         deviceState,
	"lockDeviceOfCommand": lockDeviceOfCommand,
	"sentCommand":         sentCommand,
	"othersLeft":          othersLeft,
	"planItemsOfCommand":  planItemsOfCommand,
	"otherQueriesThan":    otherQueriesThan,
	"planItems":           planItems,
	"askedQueries":        askedQueries,
	"answerCommand":       answerCommand,
	"closeCommand":        closeCommand,
	"supersede":           supersede,
	"clearQueue":          clearQueue,
	"revokeIdentities":    revokeIdentities,
	"serialOfUDID":        serialOfUDID,
	"holderOfUDID":        holderOfUDID,
	"configurations":      configurationContents,
	"documents":           documentSources,
	"linkedFile":          linkedFile,
	"readChunk":           readChunk,
	"newestConfigured":    newestConfigured,
	"wishAgain":           wishAgain,
	"claimPushes":         claimPushes,
	"identity":            identity,
	"newestRenewal":       newestRenewal,
	"claimRenewals":       claimRenewals,
	"endPredecessors":     endPredecessors,
	"foreignIdentity":     foreignIdentity,
}
