package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/muster-mdm/muster/api/client"
)

// showServer shows a server to people.
func showServer(w io.Writer, s client.AbmServer) {
	line(w, "Name", s.Name)
	line(w, "Description", s.Description)
	line(w, "Organisation", organisation(s))
	if a := s.Account; a != nil {
		line(w, "Server at Apple", a.ServerName)
		line(w, "Token downloaded by", value(a.AdminId))
	}
	line(w, "Health", serverHealth(s))
	line(w, "What is wrong", s.Health.Explanation)
	line(w, "Apple says", s.Health.Detail)
	line(w, "Who can mend it", value(s.Health.Who))
	line(w, "Token until", tokenUntil(s))
	line(w, "Devices", strconv.Itoa(s.Devices))
	line(w, "Waiting for Apple", strconv.Itoa(s.Waiting))
	line(w, "Default profile", orNone(value(s.DefaultProfile)))
	line(w, "Signing in", signingIn(s))
	line(w, "Last sync", orNone(moment(lastSync(s))))
	line(w, "All devices listed", orNone(moment(s.FullDoneAt)))
	line(w, "Now", doing(s))
	line(w, "Note", s.SyncNote)
	line(w, "Throttled", throttled(s))
	line(w, "Every", fmt.Sprintf("%s, all devices every %s", s.SyncEvery, s.FullEvery))
	if b := s.BusinessAccount; b != nil {
		line(w, "Business API", b.ClientId+", key "+b.KeyId)
	} else {
		line(w, "Business API", "no account")
	}
}

// signingIn says what becomes of sign-ins on the server's devices.
func signingIn(s client.AbmServer) string {
	if !s.AutoAssignUsers {
		return "assigns nobody"
	}
	text := "assigns whoever signs in; when the device is somebody else's: " + string(s.SignInConflict)
	if s.SignInConflict == client.HoldForReview {
		text += fmt.Sprintf(" for %s, then %s", s.SignInHold, s.SignInHoldChoice)
	}
	return text
}

func serverHealth(s client.AbmServer) string {
	text := string(s.Health.State)
	if s.Paused {
		text += ", paused"
	}
	if s.Health.State != client.HealthOk {
		text += ", since " + moment(&s.Health.Since)
	} else if s.Health.FailingSince != nil {
		text += ", failing since " + moment(s.Health.FailingSince)
	}
	return text
}

func tokenUntil(s client.AbmServer) string {
	if s.Token == nil {
		return ""
	}
	text := moment(&s.Token.ExpiresAt)
	if w := s.Token.Warning; w != nil {
		text += " (" + map[client.AbmTokenWarning]string{
			client.TokenOneMonth: "30 days left or fewer", client.TokenOneWeek: "7 days left or fewer",
			client.TokenOneDay: "a day left or less", client.TokenExpired: "expired",
		}[*w] + ")"
	}
	return text
}

func organisation(s client.AbmServer) string {
	if s.Account == nil {
		return ""
	}
	return s.Account.OrgName
}

// lastSync is when a server's list was last brought up to date.
func lastSync(s client.AbmServer) *time.Time {
	if s.SyncedAt == nil || s.FullDoneAt != nil && s.FullDoneAt.After(*s.SyncedAt) {
		return s.FullDoneAt
	}
	return s.SyncedAt
}

func doing(s client.AbmServer) string {
	switch {
	case s.LinkedAt == nil:
		return ""
	case s.Phase == client.PhaseFetch:
		return "listing all devices"
	case s.Phase == client.PhaseConclude:
		return "finding out which devices are gone"
	case s.SyncWantedAt != nil:
		return "a sync was asked for"
	}
	return ""
}

func throttled(s client.AbmServer) string {
	if s.Throttled == 0 {
		return ""
	}
	text := strconv.FormatInt(s.Throttled, 10) + " times"
	if s.ThrottledUntil != nil {
		text += ", now until " + moment(s.ThrottledUntil)
	}
	return text
}

func orNone(text string) string {
	if strings.TrimSpace(text) == "" {
		return "-"
	}
	return text
}
