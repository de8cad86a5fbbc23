package activities_test

import (
	"testing"

	"github.com/muster-mdm/muster/devstack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }
