package workflows_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/muster-mdm/muster/devstack/stacktest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(stacktest.Runner{M: m})
}
