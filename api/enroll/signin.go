package enroll

import (
	"context"
	"crypto/hmac"
	"net/http"
	"time"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// signInLimit bounds what a sign-in costs. Whoever hangs up meanwhile has tried.
const signInLimit = 45 * time.Second

const maxForm = 8 << 10

// signIn takes name and password.
func (w *Web) signIn(rw http.ResponseWriter, r *http.Request) {
	v, err := w.visitOf(r)
	if err == nil {
		r.Body = http.MaxBytesReader(rw, r.Body, maxForm)
		if r.ParseForm() != nil || !hmac.Equal([]byte(r.PostForm.Get("token")), []byte(v.token())) {
			err = foreignForm()
		}
	}
	if err != nil {
		w.stop(rw, r, v.machine, err)
		return
	}
	account, password := r.PostForm.Get("account"), r.PostForm.Get("password")
	if account == "" || password == "" {
		w.show(rw, r, v, account, missing(account))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), signInLimit)
	defer cancel()
	id, err := w.people.TrySignIn(ctx, intake.SignInTry{
		Serial: v.machine.Serial, Address: w.door.addressOf(r), Account: account, Password: password,
	})
	w.finish(ctx, rw, r, tried{v, id, account, err})
}

func missing(account string) error {
	if account == "" {
		return provision.Errorf(provision.AccountFormat, "Type your user name.")
	}
	return provision.Errorf(provision.SignInRefused, "Type your password.")
}

// leave sends the browser to an identity provider's page.
func (w *Web) leave(rw http.ResponseWriter, r *http.Request) {
	v, err := w.visitOf(r)
	if err != nil {
		w.stop(rw, r, v.machine, err)
		return
	}
	name := r.URL.Query().Get("directory")
	redirect, flow, err := w.people.BeginSignIn(r.Context(), name)
	if err == nil {
		err = w.sessions.KeepSignInFlow(r.Context(), v.hash(), name, flow)
	}
	if err != nil {
		w.refused(r, v, err)
		w.show(rw, r, v, "", err)
		return
	}
	rw.Header().Set("Cache-Control", "no-store")
	http.Redirect(rw, r, redirect, http.StatusSeeOther) //nolint:gosec // to the provider that an administrator set up
}

// comeBack takes what an identity provider says.
func (w *Web) comeBack(rw http.ResponseWriter, r *http.Request) {
	v, err := w.visitOf(r)
	if err != nil {
		w.stop(rw, r, v.machine, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), signInLimit)
	defer cancel()
	name, flow, err := w.sessions.TakeSignInFlow(ctx, v.hash())
	var id intake.Identified
	if err == nil {
		id, err = w.people.FinishSignIn(ctx, name, flow, r.URL.Query())
	}
	w.finish(ctx, rw, r, tried{v, id, "", err})
}

// tried is what came of a visit: who it was that a directory let in, or why not.
type tried struct {
	visit
	id      intake.Identified
	account string // as it was typed
	err     error
}

// finish gives whoever was let in what they came for.
func (w *Web) finish(ctx context.Context, rw http.ResponseWriter, r *http.Request, t tried) {
	if t.err != nil {
		w.refused(r, t.visit, t.err)
		w.show(rw, r, t.visit, t.account, t.err)
		return
	}
	profile, recorded, err := w.accept(ctx, t.visit, t.id)
	switch {
	case err != nil && ofForm(err):
		w.refused(r, t.visit, err)
		w.show(rw, r, t.visit, t.account, err)
	case err != nil:
		w.stop(rw, r, t.machine, err)
	default:
		w.outcomes.WithLabelValues("profile").Inc()
		w.door.config.Log.InfoContext(ctx, "signed in during setup", "serial", t.machine.Serial, "directory", t.id.Directory.Name, "fact", string(recorded))
		w.door.Give(rw, r, t.machine, profile)
	}
}

// accept assigns the device and makes its profile, both or neither.
func (w *Web) accept(ctx context.Context, v visit, id intake.Identified) (profile []byte, recorded provision.Kind, err error) {
	if _, err := w.door.entrant(ctx, v.machine); err != nil {
		return nil, "", err
	}
	topic, err := w.door.enroller.topics.Topic(ctx)
	if err != nil {
		return nil, "", err
	}
	recorded, err = w.people.SignedIn(ctx, v.machine.Serial, v.epoch, id, func(ctx context.Context, c *store.Change) error {
		if err := mayEnroll(c.Device); err != nil {
			return err
		}
		var err error
		profile, err = w.door.enroller.profileBy(ctx, c, v.machine.Serial, topic)
		return err
	})
	return profile, recorded, err
}
