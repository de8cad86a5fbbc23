package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/muster-mdm/muster/activities"
	"github.com/muster-mdm/muster/apple/dep"
	"github.com/muster-mdm/muster/signals"
	"github.com/muster-mdm/muster/store"
	"github.com/muster-mdm/muster/store/keyring"
	"github.com/muster-mdm/muster/workflows"
)

// listWorkerCommand is the part of muster's worker that lists devices, in a process of its own: the rest of it would make
// workflows of what is listed meanwhile, which row a measures.
func listWorkerCommand() *cobra.Command {
	var queue string
	var page int
	cmd := &cobra.Command{
		Use: "list-worker", Hidden: true, Args: cobra.NoArgs, Short: "Lists the devices of an Apple Business Manager server.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := keyring.Parse(os.Getenv("MUSTER_KEYRING"))
			if err != nil {
				return err
			}
			db, err := store.Open(cmd.Context(), store.Config{URL: os.Getenv("MUSTER_DATABASE_URL")}, store.WithSealer(ring))
			if err != nil {
				return err
			}
			defer db.Close()
			abm := listingActivities(db, page)
			return workOn(cmd.Context(), queue, func(w worker.Worker) {
				w.RegisterWorkflowWithOptions(workflows.ABMSync, workflow.RegisterOptions{Name: signals.ABMSyncType})
				w.RegisterActivityWithOptions(abm, activity.RegisterOptions{})
			})
		},
	}
	cmd.Flags().StringVar(&queue, "queue", "", "task queue")
	cmd.Flags().IntVar(&page, "page", dep.MaxDevices, "devices of a page")
	return cmd
}

// listingActivities keep one client, as muster does, because the session lives in it.
func listingActivities(db *store.DB, page int) *activities.ABM {
	var mu sync.Mutex
	var client activities.DEP
	connect := func(s store.ABMSecrets) (activities.DEP, activities.Business, error) {
		mu.Lock()
		defer mu.Unlock()
		if client != nil {
			return client, nil, nil
		}
		var token dep.Token
		if err := json.Unmarshal(s.Token, &token); err != nil {
			return nil, nil, fmt.Errorf("reading the server token: %w", err)
		}
		client = activities.PatientDEP(dep.New(dep.Config{BaseURL: os.Getenv("MUSTER_ABM_URL"), Token: token}), db.Now)
		return client, nil, nil
	}
	return &activities.ABM{
		Servers: db, List: db, Whereabouts: db, Duties: db, Profiles: db, Connect: connect, Now: db.Now,
		Config: activities.ABMConfig{PageSize: page}.Complete(),
	}
}
