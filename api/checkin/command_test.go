package checkin_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/provision"
)

func TestUnknownCommandsAreRefusedAndNotStored(t *testing.T) {
	e := start(t, nil)
	p, other := e.provisioned(serial), e.provisioned("C07Q853LG9RX")
	theirs := other.idle().CommandUUID
	before := e.counted()
	for name, d := range map[string]dict{
		"never sent":             p.reported("00000000-0000-4000-8000-000000000000", "Acknowledged"),
		"sent to another device": p.reported(theirs, "Acknowledged"),
		"no command":             {"UDID": p.udid, "Status": "Acknowledged"},
		"from a user":            {"UDID": p.udid, "UserID": "U", "CommandUUID": p.idle().CommandUUID, "Status": "Acknowledged"},
	} {
		a, _ := p.answer(d)
		require.Equal(t, "400 unknown_command", a.code(), name)
		require.Equal(t, before, e.counted(), name)
	}
	a, _ := p.answer(p.reported(p.idle().CommandUUID, "Perhaps"))
	require.Equal(t, "400 checkin_malformed", a.code())
	require.Equal(t, before, e.counted())
}

func TestAnswersAreCountedOnce(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	first := p.idle()
	require.Equal(t, "DeviceInformation", first.Command.RequestType)
	second := p.report(first.CommandUUID, "Acknowledged")
	items, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	again := p.report(first.CommandUUID, "Acknowledged")
	require.Equal(t, second, again, "the device goes on where it was")
	p.report(first.CommandUUID, "Error")
	require.Equal(t, "Acknowledged", e.status(first.CommandUUID))
	after, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, items, after)
}

func TestLateNotNowBringsNoCommandBack(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	first := p.idle()
	require.Equal(t, first, p.idle(), "not answered yet")
	p.report(first.CommandUUID, "Acknowledged")
	next := p.report(first.CommandUUID, "NotNow")
	require.NotEqual(t, first, next)
	require.Equal(t, next, p.idle())
	require.Equal(t, "Acknowledged", e.status(first.CommandUUID))
}

// A device that was restarted meanwhile doesn't repeat its answer, so NanoMDM must not know more of it than we do.
func TestCommandWhoseAnswerWasNotTakenIsHandedOutAgain(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	first := p.idle()
	e.facts.fail(errors.New("the database is gone"))
	a, _ := p.answer(p.reported(first.CommandUUID, "Acknowledged"))
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.Equal(t, first, p.idle())
	require.NotEqual(t, first, p.report(first.CommandUUID, "Acknowledged"))
}

func TestNotNowIsAskedAgain(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	first := p.idle()
	second := p.report(first.CommandUUID, "NotNow")
	require.NotEqual(t, first, second, "not in the same connection")
	require.Equal(t, "NotNow", e.status(first.CommandUUID))
	require.Equal(t, first, p.idle(), "but in the next")
	p.report(first.CommandUUID, "Acknowledged")
	require.Equal(t, "Acknowledged", e.status(first.CommandUUID))
}

func TestCommandsThatAnAnswerLeadsToComeInTheSameConnection(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	var kinds []string
	c := p.idle()
	for c.CommandUUID != "" {
		kinds = append(kinds, c.Command.RequestType)
		d := p.reported(c.CommandUUID, "Acknowledged")
		switch c.Command.RequestType {
		case "ProfileList":
			d["ProfileList"] = []any{dict{"PayloadIdentifier": "com.example.wifi"}, dict{"PayloadIdentifier": "com.github.muster-mdm.enrollment"}}
		case "ManagedApplicationList":
			d["ManagedApplicationList"] = dict{"com.example.pages": dict{"Status": "Managed"}}
		}
		_, c = p.answer(d)
	}
	// The app waits for the profile, so its command exists only once the ProfileList was answered.
	require.Equal(t, []string{"DeviceInformation", "InstallProfile", "ProfileList", "InstallApplication", "ManagedApplicationList"}, kinds)
	require.Zero(t, e.device(serial).Verdict().RequiredLeft)
}

func TestDeviceInformationIsKept(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	d := p.reported(p.idle().CommandUUID, "Acknowledged")
	d["QueryResponses"] = dict{"DeviceName": "Depot 7", "OSVersion": "18.2"}
	a, _ := p.answer(d)
	require.Equal(t, 200, a.status)
	var name, version, product string
	require.NoError(t, e.sql.QueryRow(t.Context(), `SELECT name, os_version, product_name FROM devices WHERE serial = $1`, serial).Scan(&name, &version, &product))
	require.Equal(t, "Depot 7, 18.2, iPhone14,5", name+", "+version+", "+product)
}

func TestAnswersOfAnEarlierEnrollmentChangeNothing(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	old := p.idle()
	p.cert = p.identity()
	require.Equal(t, 200, p.authenticate().status)
	before := e.device(serial)
	a, c := p.answer(p.reported(old.CommandUUID, "Error"))
	require.Equal(t, 200, a.status, "between Authenticate and TokenUpdate")
	require.Empty(t, c.CommandUUID)
	require.Equal(t, before, e.device(serial))
	require.Equal(t, 200, p.tokenUpdate().status)
	require.Empty(t, p.idle().CommandUUID, "what was queued for it is void")

	e.apply(serial)
	fresh := p.idle()
	require.NotEmpty(t, fresh.CommandUUID)
	require.NotEqual(t, old.CommandUUID, fresh.CommandUUID)
	items, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, fresh, p.report(old.CommandUUID, "Acknowledged"))
	after, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, items, after)
}

func TestLateAnswerUnderANewIdentifierIsTaken(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	old := p.idle()
	p.cert, p.udid = p.identity(), "UDID-OF-A-NEW-BOARD"
	require.Equal(t, 200, p.authenticate().status)
	a, _ := p.answer(p.reported(old.CommandUUID, "Acknowledged"))
	require.Equal(t, 200, a.status, "NanoMDM, which knows no such enrollment yet, would fail for ever")
	require.Equal(t, 200, p.tokenUpdate().status)
	require.Equal(t, 2, e.device(serial).Activation.Epoch)
}

func TestOnlyManagedDevicesGetCommands(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	waiting := p.idle()
	require.NotEmpty(t, waiting.CommandUUID)
	require.Equal(t, 200, p.checkOut().status)
	require.Equal(t, provision.StatusUnmanaged, e.device(serial).Status())
	before := e.counted()
	for _, late := range []dict{p.reported(waiting.CommandUUID, "Acknowledged"), {"UDID": p.udid, "Status": "Idle"}} {
		a, _ := p.answer(late)
		require.Equal(t, "400 identity_refused", a.code(), "its certificate ended with the enrollment")
	}
	require.Equal(t, "400 identity_refused", p.authenticate().code())
	require.Equal(t, "400 identity_refused", p.tokenUpdate().code())
	require.Equal(t, 200, p.checkOut().status, "it missed the answer")
	require.Equal(t, before, e.counted())

	p.cert = p.identity()
	require.Equal(t, 200, p.authenticate().status)
	require.Empty(t, p.idle().CommandUUID)
}

func TestErrorsReachThePlan(t *testing.T) {
	e := start(t, nil)
	p := e.provisioned(serial)
	install := p.report(p.idle().CommandUUID, "Acknowledged")
	require.Equal(t, "InstallProfile", install.Command.RequestType)
	p.report(install.CommandUUID, "Error")
	items, err := e.db.PlanItems(t.Context(), serial)
	require.NoError(t, err)
	for _, it := range items {
		if it.Key.Name == "wifi" {
			require.Equal(t, provision.Failed, it.State)
			require.Equal(t, "No. (MCInstallationErrorDomain 4001)", it.Detail)
		}
	}
	require.Equal(t, []string{"configuration/wifi"}, e.device(serial).Verdict().Failed)
}

func TestUsersOfADeviceAreTakenWithoutFacts(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	events := e.kinds(serial)
	user := dict{"UserID": "7D3A", "UserShortName": "ada", "UserLongName": "Ada Lovelace"}
	a := p.checkin(p.say("UserAuthenticate", user))
	require.Equal(t, 410, a.status, "declined, as Apple wants it said")
	token := dict{"Token": []byte{3}, "PushMagic": "hers", "AwaitingConfiguration": true}
	for k, v := range user {
		token[k] = v
	}
	require.Equal(t, 200, p.checkin(p.say("TokenUpdate", token)).status)
	a, c := p.answer(dict{"UDID": p.udid, "UserID": "7D3A", "Status": "Idle"})
	require.Equal(t, 200, a.status)
	require.Empty(t, c.CommandUUID)
	shared := dict{"UserID": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "UserShortName": "ada@example.com", "Token": []byte{4}, "PushMagic": "m"}
	require.Equal(t, 200, p.checkin(p.say("TokenUpdate", shared)).status, "Shared iPad")
	require.Equal(t, events, e.kinds(serial))
	pushed, err := e.storage.RetrievePushInfo(t.Context(), []string{p.udid, p.udid + ":7D3A"})
	require.NoError(t, err)
	require.Equal(t, "magic", pushed[p.udid].PushMagic)
	require.Equal(t, "hers", pushed[p.udid+":7D3A"].PushMagic)
}

func TestUnsupportedCheckinsEndInNoLoop(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	require.Equal(t, "404 not_found", p.checkin(p.say("GetToken", dict{"TokenServiceType": "com.apple.maid"})).code())
	require.Equal(t, "404 not_found", p.checkin(p.say("DeclarativeManagement", dict{"Endpoint": "tokens"})).code())
}

func TestBootstrapTokenIsKept(t *testing.T) {
	e := start(t, nil)
	p := e.enrolled(serial)
	a := p.checkin(p.say("GetBootstrapToken", nil))
	require.Equal(t, 200, a.status)
	require.Empty(t, a.body)
	require.Equal(t, 200, p.checkin(p.say("SetBootstrapToken", dict{"BootstrapToken": []byte("secret")})).status)
	a = p.checkin(p.say("GetBootstrapToken", nil))
	require.Contains(t, string(a.body), "c2VjcmV0")
}

func TestMovedBoardTakesItsIdentifierAlong(t *testing.T) {
	e := start(t, nil)
	p, other := e.provisioned(serial), e.provisioned("C07Q853LG9RX")
	p.udid = other.udid
	p.cert = p.identity()
	require.Equal(t, 200, other.checkOut().status)
	require.Equal(t, 200, p.authenticate().status)
	before := e.counted()
	a, _ := other.answer(dict{"UDID": other.udid, "Status": "Idle"})
	require.Equal(t, "400 identity_refused", a.code(), "it must not fetch what is meant for the other")
	require.Equal(t, before, e.counted())
	require.Equal(t, 200, p.tokenUpdate().status)
	require.Empty(t, p.idle().CommandUUID, "nor the other what was queued before")
}
