package worker

import (
	"context"

	"github.com/muster-mdm/muster/store"
)

// WaitingRoom is what looks for devices that should have come.
func WaitingRoom(db *store.DB, c Config) (look func(context.Context)) {
	return newWaitingRoom(db, c).look
}
