package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// enroll takes a device with these groups to Enrolled.
func (f *fleet) enroll(serial string, groups ...string) *phone {
	f.t.Helper()
	f.assign(serial, groups...)
	p := f.boot(serial, "UDID-"+serial, false)
	f.apply(serial, 0, 1)
	p.obeyAll()
	d, err := f.Device(f.t.Context(), serial)
	require.NoError(f.t, err)
	d = f.carry(serial, provision.Next(d, policy(), f.Now()))
	require.Equal(f.t, provision.StatusEnrolled, d.Status())
	return p
}

func policy() provision.Policy {
	return provision.Policy{
		SetupHold: time.Hour, HoldPolicy: provision.HoldRelease,
		RetryAfter: []time.Duration{time.Minute}, NudgeAfter: []time.Duration{time.Hour},
	}
}

func TestALife(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi one")
	f.configuration("vpn", 1, "vpn one")
	f.app("mail")
	f.group("sales", "wifi before_release", "vpn", "app:mail")
	f.needs("sales", "vpn", "wifi")

	d := f.assign(serial, "sales")
	require.Equal(t, []string{provision.AwaitingActivation}, d.Labels())
	p := f.boot(serial, "U1", true)
	d = f.apply(serial, 0, 1)
	require.Equal(t, provision.StatusProvisioning, d.Status())
	require.Equal(t, provision.Verdict{Total: 5, BeforeReleaseLeft: 1, RequiredLeft: 4, SetupLeft: true}, d.Verdict())
	require.Equal(t, 1, f.count(`devices WHERE push_at IS NOT NULL`), "the device is to be woken")
	require.Equal(t, 1, f.count(`nanomdm.commands WHERE command LIKE '%wifi one%'`), "the command carries the content")
	require.Equal(t, 1, f.count(`nanomdm.commands WHERE command LIKE '%https://apps.example.com/mail%'`))

	require.Equal(t, "DeviceInformation device_information", p.obey())
	require.Equal(t, "InstallProfile wifi", p.obey())
	require.Equal(t, "InstallApplication mail", p.obey())
	require.Equal(t, "ProfileList management_profile", p.obey())
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Zero(t, d.Verdict().BeforeReleaseLeft)
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified", "vpn sent", "mail acknowledged"}, f.items(serial))

	step := provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.LeaveSetup, step.Do)
	d = f.carry(serial, step)
	require.False(t, d.InSetup())
	require.Equal(t, d, f.carry(serial, step), "twice is once")
	require.Equal(t, []string{"ManagedApplicationList ManagedApplicationList", "InstallProfile vpn", "ProfileList management_profile", "DeviceConfigured setup_release"}, p.obeyAll())

	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	step = provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.ConcludeEnrolled, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, provision.StatusEnrolled, d.Status())
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, []string{
		"assigned", "authenticated", "activated", "provisioning", "settled", "setup_released", "settled",
		"setup_finished", "settled", "enrolled",
	}, f.kinds(serial))
	require.Equal(t, f.refolded(serial), d)
	require.Equal(t, 4, f.count(`device_events WHERE deliver`), "the workflow hears of what decides something")
	require.Zero(t, f.count(`devices WHERE push_at IS NOT NULL OR poll_at IS NOT NULL`), "nothing is owed to it")
	require.Zero(t, f.count(`nanomdm.commands`)+f.count(`nanomdm.enrollment_queue`)+f.count(`nanomdm.command_results`), "what was answered is gone")
}

func TestApplyTwiceSendsNothingTwice(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.assign(serial, "g")
	f.boot(serial, "U1", false)
	first := f.apply(serial, 0, 1)
	commands := f.count("device_commands")
	for range 3 {
		require.Equal(t, first, f.apply(serial, 0, 1), "the activity's answer was lost and it is repeated")
	}
	require.Equal(t, commands, f.count("device_commands"))
	require.Equal(t, commands, f.count("nanomdm.enrollment_queue"))
	require.Len(t, f.kinds(serial), 4)

	d := f.apply(serial, first.Plan.By, 2) // somebody knows that plan and wants another round
	require.NotEqual(t, first.Plan.By, d.Plan.By)
	require.Equal(t, 2, d.Plan.Round)
	require.Equal(t, commands, f.count("device_commands"), "what is under way stays so")

	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	require.Equal(t, 1, f.apply(serial, d.Plan.By, 3).Plan.Round, "what is wanted changed, so it is the first round of that")
}

func TestApplyKeepsItsHandsOff(t *testing.T) {
	f := newFleet(t)
	f.group("g")
	f.assign(serial, "g")
	require.Zero(t, f.apply(serial, 0, 1).Plan.By, "not activated")
	f.boot(serial, "U1", true)
	f.record(serial, provision.Fact{Kind: provision.HoldRequest})
	require.Zero(t, f.apply(serial, 0, 1).Plan.By, "on hold")
	for _, do := range []provision.Action{provision.Nudge, provision.LeaveSetup, provision.ConcludeEnrolled, provision.ConcludeStuck} {
		f.carry(serial, provision.Step{Do: do, Epoch: 1, Reason: "x"})
	}
	f.carry(serial, provision.Step{Do: provision.ConcludeReleased})
	f.record(serial, provision.Fact{Kind: provision.ResumeRequest})
	f.carry(serial, provision.Step{Do: provision.LeaveSetup, Epoch: 7})
	f.carry(serial, provision.Step{Do: provision.LeaveSetup, Epoch: 1, Plan: 12345})
	require.Equal(t, []string{"assigned", "authenticated", "activated", "hold", "resume"}, f.kinds(serial))
	for _, do := range []provision.Action{provision.WaitForFacts, provision.Apply, "dance"} {
		_, err := f.Carry(t.Context(), serial, provision.Step{Do: do})
		require.ErrorContains(t, err, "not one transaction")
	}
}

func TestAnswersTwiceLateAndUnknown(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	p.obey()
	uuid, what := p.next(false)
	require.Equal(t, "InstallProfile wifi", what)

	busy := provision.Answer{Status: provision.AnswerNotNow}
	require.False(t, p.report(uuid, busy).Ignored)
	require.False(t, p.report(uuid, busy).Ignored, "it may say so often")
	require.Equal(t, 1, f.count(`plan_items WHERE detail LIKE '%NotNow%'`))
	_, what = p.next(true)
	require.Equal(t, "ProfileList management_profile", what, "the others come first then")
	require.False(t, p.report(uuid, acknowledged).Ignored)
	state := f.items(serial)
	for _, a := range []provision.Answer{acknowledged, busy, refused("too late")} {
		out := p.report(uuid, a)
		require.True(t, out.Ignored)
		require.Equal(t, state, f.items(serial))
	}
	require.Equal(t, 1, f.count(`device_commands WHERE command_uuid = $1 AND status = 'Acknowledged'`, uuid))
	require.NotContains(t, p.obeyAll(), "InstallProfile wifi", "a NotNow that comes late doesn't bring it back")

	_, err := f.Answer(t.Context(), "00000000-0000-0000-0000-000000000000", acknowledged, nil)
	require.Equal(t, provision.UnknownCommand, provision.CodeOf(err))
	_, err = f.SentCommand(t.Context(), "nothing")
	require.Equal(t, provision.UnknownCommand, provision.CodeOf(err))
}

func TestAnswersOfAnEarlierEnrollmentChangeNothing(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	p.obey()
	uuid, _ := p.next(false)

	p = f.boot(serial, "U1", false)
	before, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	none, _ := p.next(false)
	require.Empty(t, none, "its Authenticate cleared the queue")
	out, err := f.Answer(t.Context(), uuid, refused("x"), nil)
	require.NoError(t, err)
	require.True(t, out.Ignored)
	require.Equal(t, before, out.Device)
	require.Empty(t, f.items(serial))

	f.apply(serial, before.Plan.By, 1)
	require.Equal(t, []string{"DeviceInformation device_information", "InstallProfile wifi", "ProfileList management_profile"}, p.obeyAll(), "everything anew")
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified"}, f.items(serial))
	require.Zero(t, f.count(`device_commands c JOIN device_commands d USING (command_uuid) WHERE c.epoch <> d.epoch`))
}

func TestFailuresAreTriedAgainAndThenStuck(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.configuration("vpn", 1, "vpn")
	f.group("g", "wifi", "vpn")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	fail := func() {
		for uuid, what := p.next(false); uuid != ""; uuid, what = p.next(false) {
			if what == "InstallProfile wifi" {
				p.report(uuid, refused("no room"))
				continue
			}
			p.obey()
		}
	}
	fail()
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, []string{"configuration/wifi"}, d.Verdict().Failed)
	require.Equal(t, provision.WaitForFacts, provision.Next(d, policy(), f.Now()).Do)

	f.clock.pass(time.Minute)
	step := provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.Apply, step.Do)
	d = f.apply(serial, d.Plan.By, step.Round)
	require.Equal(t, 2, d.Plan.Round)
	fail()
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	step = provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.ConcludeStuck, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, 1, f.count(`devices WHERE blocked_by = 'stuck'`))
	require.Contains(t, d.Explain(policy(), f.Now())[0].For, "configuration/wifi failed, tried 2 times")
	require.Equal(t, 2, f.count(`device_commands WHERE name = 'wifi'`))
	require.Equal(t, 1, f.count(`device_commands WHERE name = 'vpn'`), "what went well isn't sent again")

	f.record(serial, provision.Fact{Kind: provision.RetryItem})
	f.apply(serial, d.Plan.By, 1)
	p.obeyAll()
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified", "vpn verified"}, f.items(serial))
}

func TestReassigningSendsOnlyTheDifference(t *testing.T) {
	f := newFleet(t)
	for _, name := range []string{"wifi", "vpn", "kiosk"} {
		f.configuration(name, 1, name)
	}
	f.app("mail")
	f.group("sales", "wifi", "vpn", "app:mail")
	f.group("shop", "wifi", "kiosk")
	p := f.enroll(serial, "sales")
	f.assign(serial, "shop")
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	d = f.apply(serial, d.Plan.By, 1)
	require.Equal(t, 2, d.Verdict().RemovalsLeft)
	require.Equal(t, []string{"InstallProfile kiosk", "RemoveProfile vpn", "RemoveApplication mail", "ProfileList management_profile"}, p.obeyAll())
	require.Equal(t, []string{
		"device_information verified", "management_profile verified", "wifi verified", "kiosk verified", "vpn removed", "mail removed",
	}, f.items(serial))

	f.assign(serial, "sales") // and back: the same items get new attempts
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	f.apply(serial, d.Plan.By, 1)
	require.ElementsMatch(t, []string{
		"InstallProfile vpn", "InstallApplication mail", "RemoveProfile kiosk", "ProfileList management_profile", "ManagedApplicationList ManagedApplicationList",
	}, p.obeyAll())
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, provision.ConcludeEnrolled, provision.Next(d, policy(), f.Now()).Do)
}

func TestUnassigningTakesAwayWhatTheGroupsBrought(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	p := f.enroll(serial, "g")
	f.record(serial, provision.Fact{Kind: provision.Unassigned})
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, []string{"RemoveProfile wifi"}, p.obeyAll())
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Zero(t, d.Verdict())
	require.Equal(t, []string{provision.AwaitingAssignment}, d.Labels())
	require.Equal(t, provision.Managed, d.Management(), "the device stays managed")
	require.Equal(t, provision.WaitForFacts, provision.Next(d, policy(), f.Now()).Do)

	f.assign(serial, "g")
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, []string{"DeviceInformation device_information", "InstallProfile wifi", "ProfileList management_profile"}, p.obeyAll())
}

func TestARefusedRemovalIsTriedAgainByANudge(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	p := f.enroll(serial, "g")
	f.record(serial, provision.Fact{Kind: provision.Unassigned})
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	d = f.apply(serial, d.Plan.By, 1)
	uuid, _ := p.next(false)
	p.report(uuid, refused("locked"))
	none, _ := p.next(false)
	require.Empty(t, none)
	f.clock.pass(time.Hour)
	step := provision.Next(d, policy(), f.Now())
	require.Equal(t, provision.Nudge, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, 1, d.Nudges)
	require.Equal(t, provision.WaitForFacts, provision.Next(d, policy(), f.Now()).Do)
	require.Equal(t, []string{"RemoveProfile wifi"}, p.obeyAll())
	require.Equal(t, "wifi removed", f.items(serial)[len(f.items(serial))-1])
}

func TestANewVersionSupersedesWhatIsOnItsWay(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi one")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	d := f.apply(serial, 0, 1)
	p.obey()
	old, what := p.next(false)
	require.Equal(t, "InstallProfile wifi", what)
	p.report(old, provision.Answer{Status: provision.AnswerNotNow})

	f.configuration("wifi", 2, "wifi two")
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, 1, f.count(`device_commands WHERE command_uuid = $1 AND status = 'Superseded'`, old))
	done := p.obeyAll()
	require.Equal(t, []string{"ProfileList management_profile", "InstallProfile wifi", "ProfileList management_profile"}, done)
	last, err := f.SentCommand(t.Context(), old)
	require.NoError(t, err)
	require.True(t, last.Answered())
	require.True(t, p.report(old, acknowledged).Ignored, "the device had fetched it before")
	require.Equal(t, []string{"device_information verified", "management_profile verified", "wifi verified"}, f.items(serial))
	require.Zero(t, f.count(`devices WHERE push_at IS NOT NULL`), "nothing is outstanding")

	// Taken away and given back while the removal is under way: the old removal must not undo the new install.
	d, err = f.Device(t.Context(), serial)
	require.NoError(t, err)
	f.group("g")
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	d = f.apply(serial, d.Plan.By, 1)
	removal, what := p.next(false)
	require.Equal(t, "RemoveProfile wifi", what)
	p.report(removal, provision.Answer{Status: provision.AnswerNotNow})
	f.group("g", "wifi")
	f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	f.apply(serial, d.Plan.By, 1)
	require.Equal(t, []string{"InstallProfile wifi", "ProfileList management_profile"}, p.obeyAll())
	require.Equal(t, "wifi verified", f.items(serial)[2])
}

func TestGroupsThatContradictEachOtherAreStuckWithTheReason(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.configuration("other", 1, "other")
	f.exec(`UPDATE configurations SET identifier = 'com.example.wifi' WHERE name = 'other'`)
	f.group("g", "wifi", "other")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	d := f.apply(serial, 0, 1)
	require.Equal(t, "stuck", d.BlockedBy())
	require.Contains(t, d.Stuck.Reason, "com.example.wifi")
	require.Equal(t, d, f.apply(serial, 0, 1))
	require.Equal(t, provision.WaitForFacts, provision.Next(d, policy(), f.Now()).Do)
	f.group("g", "wifi")
	d = f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	require.Equal(t, provision.Apply, provision.Next(d, policy(), f.Now()).Do)
	f.apply(serial, 0, 1)
	require.Len(t, p.obeyAll(), 3)

	f.exec(`UPDATE configurations SET identifier = $1 WHERE name = 'wifi'`, mdmProfile)
	d = f.record(serial, provision.Fact{Kind: provision.CatalogChanged})
	require.Contains(t, f.apply(serial, d.Plan.By, 1).Stuck.Reason, mdmProfile, "removing it would end the enrollment")
}

func TestAnItemThatCannotBeWrittenKeepsNoOtherBack(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.configuration("bad", 1, "unwritable")
	f.configuration("gone", 1, "gone")
	f.group("g", "bad", "gone", "wifi")
	f.needs("g", "gone", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	d := f.apply(serial, 0, 1)
	require.Equal(t, []string{"configuration/bad"}, d.Verdict().Failed)
	f.exec(`DELETE FROM configuration_contents WHERE name = 'gone'`)
	require.Subset(t, []string{"DeviceInformation device_information", "InstallProfile wifi", "ProfileList management_profile"}, p.obeyAll())
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, []string{"configuration/bad", "configuration/gone"}, d.Verdict().Failed)
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'bad' AND detail LIKE '%no such thing%'`))
	require.Equal(t, 1, f.count(`plan_items WHERE name = 'gone' AND detail LIKE '%deleted%'`))
}

func TestADeviceWithoutGroupsEnrols(t *testing.T) {
	f := newFleet(t)
	p := f.enroll(serial)
	require.Equal(t, []string{"device_information verified", "management_profile verified"}, f.items(serial))
	none, _ := p.next(false)
	require.Empty(t, none)
}

func TestReleaseEndsEverything(t *testing.T) {
	f := newFleet(t)
	f.configuration("wifi", 1, "wifi")
	f.group("g", "wifi")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	f.exec(`INSERT INTO identities (sha256, serial, serial_number, certificate, issued_at, not_after) VALUES ($1, $2, 7, 'x', now(), now())`,
		"00000000000000000000000000000000000000000000000000000000000000ab", serial)
	uuid, _ := p.next(false)
	sent := f.count(`device_commands`)
	d := f.record(serial, provision.Fact{Kind: provision.ReleaseRequest, Reason: "end_of_life"})
	step := provision.Next(d, policy(), f.Now())
	out, err := f.Answer(t.Context(), uuid, acknowledged, nil)
	require.NoError(t, err)
	require.False(t, out.Ignored, "the release may be cancelled yet")
	require.Equal(t, sent, f.count(`device_commands`), "but nothing new is sent to a device on its way out")

	d = f.carry(serial, step)
	require.Equal(t, provision.StatusReleased, d.Status())
	require.Equal(t, d, f.carry(serial, step))
	none, _ := p.next(false)
	require.Empty(t, none)
	require.Zero(t, f.count(`identities WHERE revoked_at IS NULL`))
	require.Zero(t, f.count(`devices WHERE push_at IS NOT NULL OR poll_at IS NOT NULL`))
	out, err = f.Answer(t.Context(), uuid, acknowledged, nil)
	require.NoError(t, err)
	require.True(t, out.Ignored)
	for _, do := range []provision.Action{provision.Nudge, provision.LeaveSetup, provision.ConcludeEnrolled, provision.ConcludeStuck} {
		require.Equal(t, d, f.carry(serial, provision.Step{Do: do, Epoch: 1}))
	}
	require.Equal(t, d, f.apply(serial, d.Plan.By, 1))
	require.Equal(t, f.refolded(serial), d)
}

func TestKeptInSetupIsSaidOncePerDeadline(t *testing.T) {
	f := newFleet(t)
	keep := policy()
	keep.HoldPolicy = provision.HoldKeepAndAlert
	f.boot(serial, "U1", true)
	f.clock.pass(2 * time.Hour)
	d, err := f.Device(t.Context(), serial)
	require.NoError(t, err)
	step := provision.Next(d, keep, f.Now())
	require.Equal(t, provision.ConcludeStuck, step.Do)
	d = f.carry(serial, step)
	require.Equal(t, d, f.carry(serial, step))
	require.Equal(t, provision.WaitForFacts, provision.Next(d, keep, f.Now()).Do)
	require.Equal(t, []string{"authenticated", "activated", "stuck"}, f.kinds(serial))

	until := f.Now().Add(time.Hour)
	d = f.record(serial, provision.Fact{Kind: provision.ExtendHold, Until: &until})
	require.Empty(t, d.BlockedBy())
	require.Equal(t, until, provision.Next(d, keep, f.Now()).Until)
	f.clock.pass(2 * time.Hour)
	d = f.carry(serial, provision.Next(d, keep, f.Now()))
	require.Equal(t, "stuck", d.BlockedBy(), "the extended time is up, too")
}

func TestWishesOfTheWorkerAreWrittenSparingly(t *testing.T) {
	f := newFleet(t)
	for _, name := range []string{"a", "b", "c"} {
		f.configuration(name, 1, name)
	}
	f.group("g", "a", "b", "c")
	f.assign(serial, "g")
	p := f.boot(serial, "U1", false)
	f.apply(serial, 0, 1)
	row := func() (version int64, writer string, push time.Time) {
		require.NoError(t, f.sql.QueryRow(t.Context(), `SELECT version, xmin::text, push_at FROM devices`).Scan(&version, &writer, &push))
		return version, writer, push
	}
	version, _, due := row()
	p.obey()
	_, writer, push := row()
	require.Greater(t, push, due, "a device that talks to us needs no push")
	p.obey()
	p.obey()
	now, by, same := row()
	require.Equal(t, push, same)
	require.Equal(t, version, now, "nothing that people see has changed")
	require.Equal(t, writer, by, "the row isn't written for each answer")

	uuid, _ := p.next(false)
	f.clock.pass(store.DefaultTiming().Connected)
	p.report(uuid, provision.Answer{Status: provision.AnswerNotNow})
	_, _, push = row()
	require.WithinDuration(t, f.Now().Add(store.DefaultTiming().NotNow), push, time.Second)
}
