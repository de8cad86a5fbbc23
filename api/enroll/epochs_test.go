package enroll_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/sim"
)

// outstanding are the UUIDs of commands that a device was sent in an enrollment and didn't answer for good.
func (h *house) outstanding(serial string, epoch int) []string {
	h.t.Helper()
	rows, err := h.sql.Query(h.t.Context(), `SELECT command_uuid FROM device_commands WHERE serial = $1 AND epoch = $2 AND status IN ('', 'NotNow') ORDER BY command_uuid`, serial, epoch)
	require.NoError(h.t, err)
	defer rows.Close()
	var uuids []string
	for rows.Next() {
		var uuid string
		require.NoError(h.t, rows.Scan(&uuid))
		uuids = append(uuids, uuid)
	}
	return uuids
}

// standing is all that counts of a device.
func (h *house) standing(serial string) string {
	h.t.Helper()
	d := h.device(serial)
	items, err := h.db.PlanItems(h.t.Context(), serial)
	require.NoError(h.t, err)
	state, err := json.Marshal(d)
	require.NoError(h.t, err)
	return fmt.Sprintf("%s %s\n%v\n%s", d.Status(), state, items, h.text(`
SELECT concat_ws(' ', count(*), max(id)) FROM device_events WHERE serial = $1`, serial))
}

// Ten enrollments in a row, each left half done in another way, with late answers from all that are over, by their own
// certificates and by that of the newest: the state is that of the last enrollment only.
func TestTenEnrollmentsInARowWithLateAnswers(t *testing.T) {
	const seed = 20261127
	draw := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	h := build(t)
	h.register(serial)
	h.bring(serial)
	d := h.virtual(serial)
	var late []string
	var old []func([]byte) string
	for epoch := 1; epoch <= 10; epoch++ {
		over := h.tape.played(h.server.URL)
		require.NoError(t, d.PowerOn(t.Context(), h))
		require.Equal(t, epoch, h.device(serial).Activation.Epoch)
		require.Equal(t, []string{"drivers"}, h.device(serial).Assignment.Groups, "the assignment is kept")
		h.apply(serial)
		sent, err := h.enroller.Renew(t.Context(), serial)
		require.NoError(t, err)
		require.True(t, sent)
		items, err := h.db.PlanItems(t.Context(), serial)
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(items, func(it provision.PlanItem) bool { return it.State == provision.Verified }), "everything is applied anew")

		before := h.standing(serial)
		now := signing(h, d)
		h.tape.pause(true)
		draw.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
		for _, uuid := range late[:min(len(late), 12)] {
			status := []string{"Acknowledged", "Error", "NotNow", "CommandFormatError"}[draw.IntN(4)]
			answer := dict{"UDID": d.UDID(), "CommandUUID": uuid, "Status": status, "ProfileList": []any{dict{"PayloadIdentifier": "com.example.wifi"}}}
			require.Equal(t, 200, h.say(now, answerMedia, answer).status, "epoch %d, %s", epoch, status)
			require.Equal(t, "400 identity_refused", h.say(old[draw.IntN(len(old))], answerMedia, answer).code())
		}
		for _, r := range over {
			require.Equal(t, "400 identity_refused", h.send(r).code(), "what was said in an enrollment that is over, word for word")
		}
		h.tape.pause(false)
		require.Equal(t, before, h.standing(serial), "epoch %d", epoch)

		late, old = append(late, h.outstanding(serial, epoch)...), append(old, now)
		h.leave(d, draw.IntN(3))
	}
	require.NoError(t, d.PowerOn(t.Context(), h))
	h.run(d)
	h.apply(serial)
	h.eventually("enrolled device", func() bool {
		require.NoError(t, h.pusher.Push(t.Context(), d.UDID()))
		return h.device(serial).Verdict().RequiredLeft == 0
	})
	require.Equal(t, 11, h.device(serial).Activation.Epoch)
	require.True(t, d.Snapshot().HasProfile("com.example.wifi"))
	require.Equal(t, "Managed", d.Snapshot().App("com.example.pages"))
	for _, entry := range d.Log() {
		require.Equal(t, 11, entry.Epoch, "nothing of an enrollment that is over was sent")
		require.Equal(t, 1, entry.TimesDelivered(), entry.RequestType)
	}
	require.Equal(t, "11", h.text(`SELECT count(*)::text FROM device_events WHERE kind = 'activated'`))
}

// leave ends an enrollment: the device is erased without a word, checks out first, or is erased and breaks its next enrollment
// off.
func (h *house) leave(d *sim.Device, how int) {
	h.t.Helper()
	switch how {
	case 0:
		d.Reset()
	case 1:
		require.NoError(h.t, d.CheckOut(h.t.Context()))
		require.Equal(h.t, provision.StatusUnmanaged, h.device(d.Serial()).Status())
		d.Reset()
	case 2:
		d.Reset()
		profile, err := h.enroller.EnrollmentProfile(h.t.Context(), d.Serial())
		require.NoError(h.t, err)
		require.NoError(h.t, d.Prepare(h.t.Context(), profile))
		require.NotEmpty(h.t, d.UDID())
		d.Reset()
	}
}

func TestAssignmentAtReenrollment(t *testing.T) {
	for name, tt := range map[string]struct {
		unassign bool
		left     []string // the groups after the second enrollment
	}{"kept": {false, []string{"drivers"}}, "dropped": {true, nil}} {
		t.Run(name, func(t *testing.T) {
			h := build(t, func(c *choices) { c.intake = intake.Settings{UnassignAtReenrollment: tt.unassign} })
			h.register(serial)
			h.bring(serial)
			d := h.virtual(serial)
			groups := func() []string {
				a := h.device(serial).Assignment
				if a == nil {
					return nil
				}
				return a.Groups
			}
			require.NoError(t, d.PowerOn(t.Context(), h))
			require.Equal(t, []string{"drivers"}, groups(), "it was reserved for this enrollment")
			d.Reset()
			require.NoError(t, d.PowerOn(t.Context(), h))
			require.Equal(t, tt.left, groups())
			require.Equal(t, tt.unassign, slices.Contains(h.kinds(serial), "unassigned"))

			require.NoError(t, d.CheckOut(t.Context()))
			h.bring(serial)
			require.NoError(t, d.PowerOn(t.Context(), h))
			require.Equal(t, []string{"drivers"}, groups(), "it was given after the last enrollment had ended")
			require.NoError(t, d.CheckOut(t.Context()))
			require.NoError(t, d.PowerOn(t.Context(), h))
			require.Equal(t, tt.left, groups())
		})
	}
}
