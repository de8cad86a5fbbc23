package directory_test

import (
	"testing"

	"github.com/muster-mdm/muster/devstack/directorytest"
)

func TestMain(m *testing.M) { directorytest.Main(m) }
