package provision

import "time"

// MostSetupTries is how often DeviceConfigured is sent to a device that refuses it before only an operator has it sent
// again.
const MostSetupTries = 5

// InSetup reports whether the device is held in Setup Assistant: DeviceConfigured was not sent to it yet.
func (d Device) InSetup() bool {
	return d.Active() && d.Activation.Awaiting && d.SetupEpoch != d.Activation.Epoch
}

// SetupLeft reports whether the device still has to leave Setup Assistant: it never acknowledged DeviceConfigured,
// whether that was sent or not.
func (d Device) SetupLeft() bool {
	return d.Active() && d.Activation.Awaiting && d.SetupDoneIn != d.Activation.Epoch
}

// SetupAskedFor reports whether an operator asked to let the device out of Setup Assistant, and DeviceConfigured was not
// sent since.
func (d Device) SetupAskedFor() bool {
	return d.SetupLeft() && d.SetupAsked.set() && d.SetupAskedIn == d.Activation.Epoch &&
		(d.InSetup() || d.SetupAsked.By > d.SetupReleased.By)
}

// SetupAnswer returns the fact that an answer to DeviceConfigured amounts to, if there is news in it.
func (d Device) SetupAnswer(a Answer) (Fact, bool) {
	f := Fact{Kind: SetupFinished, Epoch: d.Activation.Epoch, Source: FromDevice}
	switch {
	case a.Command.Type != DeviceConfigured || !a.Status.Final() || !d.SetupLeft():
		return Fact{}, false
	case a.Status != AnswerAcknowledged:
		f.Kind, f.Round, f.Reason = SetupRefused, d.setupTries()+1, refusal(a)
	}
	return f, true
}

// SetupRetryAt is when DeviceConfigured is to be sent once more because the device refused it; zero when it isn't.
func (d Device) SetupRetryAt(pause func(tries int) time.Duration) time.Time {
	tries := d.setupTries()
	if !d.SetupLeft() || tries == 0 || tries >= MostSetupTries {
		return time.Time{}
	}
	return d.SetupRefused.At.Add(pause(tries))
}

// setupTries counts how often the device refused to leave Setup Assistant since it was last decided that it should.
func (d Device) setupTries() int {
	r := d.SetupRefused
	if !r.set() || r.Epoch != d.Activation.Epoch || d.SetupEpoch == r.Epoch && r.By < d.SetupReleased.By {
		return 0
	}
	return d.SetupTries
}

// setupStuck reports whether the device refused to leave Setup Assistant too often to be asked again.
func (d Device) setupStuck() bool {
	return d.SetupLeft() && d.setupTries() >= MostSetupTries
}

// Judge sums up the plan of the device as [Judge] does, and says whether it has to leave Setup Assistant yet.
func (d Device) Judge(items []PlanItem) Verdict {
	v := Judge(items)
	v.SetupLeft = d.SetupLeft()
	return v
}

func (d Device) explainSetupStuck() Wait {
	return Wait{For: sentence("The device refuses to leave Setup Assistant", d.SetupRefused.Reason), Since: d.SetupRefused.At, Who: whoReleaser}
}
