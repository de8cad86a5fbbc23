package muster_test

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compose loads docker-compose.yml as `docker compose` does in an empty environment.
func compose(t *testing.T) *types.Project {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: "docker-compose.yml"}},
		Environment: types.Mapping{},
	})
	require.NoError(t, err)
	return p
}

// jobs are the services that another one waits for to end.
func jobs(p *types.Project) map[string]bool {
	found := map[string]bool{}
	for _, s := range p.Services {
		for name, d := range s.DependsOn {
			if d.Condition == types.ServiceConditionCompletedSuccessfully {
				found[name] = true
			}
		}
	}
	return found
}

func isMuster(s types.ServiceConfig) bool { return s.Build != nil }

func TestComposeHasEveryPart(t *testing.T) {
	p := compose(t)
	assert.Equal(t, []string{
		"muster", "muster-migrate", "postgres", "temporal", "temporal-namespace", "temporal-schema",
		"temporal-search-attributes", "temporal-ui",
	}, p.ServiceNames())
	assert.Equal(t, []string{"muster-migrate", "temporal-namespace", "temporal-schema", "temporal-search-attributes"},
		slices.Sorted(maps.Keys(jobs(p))))
}

func TestComposeServersAreWatchedAndJobsEnd(t *testing.T) {
	p := compose(t)
	job := jobs(p)
	for _, s := range p.Services {
		if job[s.Name] {
			assert.True(t, strings.HasPrefix(s.Restart, types.RestartPolicyOnFailure), "%s: a job must end, but restarts %q", s.Name, s.Restart)
			continue
		}
		require.NotNil(t, s.HealthCheck, "%s has no health check", s.Name)
		assert.NotEmpty(t, s.HealthCheck.Test, s.Name)
		assert.False(t, s.HealthCheck.Disable, s.Name)
		assert.Equal(t, types.RestartPolicyUnlessStopped, s.Restart, s.Name)
	}
}

func TestComposeStartsInOrder(t *testing.T) {
	p := compose(t)
	job := jobs(p)
	for _, s := range p.Services {
		for name, d := range s.DependsOn {
			_, err := p.GetService(name)
			require.NoError(t, err, "%s waits for %s", s.Name, name)
			if job[name] {
				assert.Equal(t, types.ServiceConditionCompletedSuccessfully, d.Condition, "%s waits for the job %s", s.Name, name)
				continue
			}
			assert.Equal(t, types.ServiceConditionHealthy, d.Condition, "%s waits for the server %s", s.Name, name)
		}
	}
	before := func(service string) []string { return allBefore(p, service, map[string]bool{}) }
	assert.ElementsMatch(t, []string{
		"postgres", "temporal", "temporal-schema", "temporal-namespace", "temporal-search-attributes", "muster-migrate",
	}, before("muster"))
	assert.ElementsMatch(t, []string{"postgres", "temporal-schema"}, before("temporal"))
}

func allBefore(p *types.Project, service string, seen map[string]bool) []string {
	var all []string
	for name := range p.Services[service].DependsOn {
		if seen[name] {
			continue
		}
		seen[name] = true
		all = append(append(all, name), allBefore(p, name, seen)...)
	}
	return all
}

func TestComposeIsReachedOnLoopbackOnly(t *testing.T) {
	published := map[string]string{}
	p := compose(t)
	for _, s := range p.Services {
		assert.Empty(t, s.NetworkMode, "%s leaves its networks", s.Name)
		assert.False(t, s.Privileged, s.Name)
		for _, port := range s.Ports {
			ip := net.ParseIP(port.HostIP)
			assert.True(t, ip != nil && ip.IsLoopback(), "%s publishes %s on %q", s.Name, port.Published, port.HostIP)
			assert.Empty(t, published[port.Published], "port %s is published twice", port.Published)
			published[port.Published] = s.Name
		}
	}
	assert.Equal(t, map[string]string{"8080": "muster", "8233": "temporal-ui"}, published)
	assert.True(t, p.Networks["data"].Internal, "PostgreSQL and Temporal are to be closed in")
}

func TestComposePinsImages(t *testing.T) {
	exact := regexp.MustCompile(`^[a-z0-9./-]+:[0-9]+(\.[0-9]+)+(@sha256:[0-9a-f]{64})?$`)
	for _, s := range compose(t).Services {
		if isMuster(s) {
			assert.Equal(t, "muster:dev", s.Image, s.Name)
			continue
		}
		assert.Regexp(t, exact, s.Image, s.Name)
	}
}

func TestComposeKeepsSecretsInFiles(t *testing.T) {
	p := compose(t)
	secret := regexp.MustCompile(`(?i)(PASSWORD|PASSWD|PWD|SECRET|TOKEN|KEY|CREDENTIAL|DATABASE_URL)`)
	inURL := regexp.MustCompile(`://[^/\s]*:[^/\s]*@`)
	used := map[string]bool{}
	for _, s := range p.Services {
		mounted := map[string]bool{}
		for _, m := range s.Secrets {
			mounted["/run/secrets/"+m.Source] = true
			used[m.Source] = true
			assert.Contains(t, p.Secrets, m.Source, s.Name)
		}
		for name, value := range s.Environment {
			require.NotNil(t, value, "%s takes %s from the caller's environment", s.Name, name)
			assert.NotRegexp(t, inURL, *value, "%s: %s", s.Name, name)
			if !secret.MatchString(name) {
				continue
			}
			assert.True(t, strings.HasSuffix(name, "_FILE"), "%s has the secret %s in the clear", s.Name, name)
			assert.True(t, mounted[*value], "%s: %s names %s, which is not mounted", s.Name, name, *value)
		}
	}
	assert.ElementsMatch(t, p.SecretNames(), slices.Collect(maps.Keys(used)))
}

func TestComposeKeepsDataAndBoundsLogs(t *testing.T) {
	p := compose(t)
	assert.Equal(t, []string{"postgres"}, p.VolumeNames())
	for _, s := range p.Services {
		require.NotNil(t, s.Logging, s.Name)
		assert.Contains(t, s.Logging.Options, "max-size", s.Name)
		require.NotNil(t, s.Deploy, s.Name)
		require.NotNil(t, s.Deploy.Resources.Limits, s.Name)
		assert.Positive(t, s.Deploy.Resources.Limits.MemoryBytes, s.Name)
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			assert.True(t, v.ReadOnly, "%s may write to %s", s.Name, v.Source)
			assert.FileExists(t, v.Source, s.Name)
		}
	}
}

func TestComposeRunsCommandsThatExist(t *testing.T) {
	known := commands(t)
	setting := settings(t)
	for _, s := range compose(t).Services {
		if !isMuster(s) {
			continue
		}
		require.NotEmpty(t, s.Command, s.Name)
		for _, word := range s.Command {
			assert.Contains(t, known, word, "%s runs a command that muster doesn't have", s.Name)
		}
		if !s.HealthCheck.Disable {
			assert.Equal(t, []string{"CMD", "/usr/local/bin/muster", "healthcheck"}, []string(s.HealthCheck.Test))
		}
		for name := range s.Environment {
			assert.True(t, setting[name], "%s sets %s, which muster doesn't read", s.Name, name)
		}
		assert.True(t, s.ReadOnly, s.Name)
		assert.Equal(t, []string{"ALL"}, s.CapDrop, s.Name)
	}
	assert.Contains(t, known, "healthcheck")
}

func TestComposeCreatesTheSearchAttributesOfWorkflows(t *testing.T) {
	kinds := map[string]string{"Keyword": "Keyword", "KeywordList": "KeywordList", "Int64": "Int"}
	want := map[string]string{}
	for _, m := range regexp.MustCompile(`NewSearchAttributeKey(\w+)\("(\w+)"\)`).FindAllStringSubmatch(sources(t, "signals"), -1) {
		require.Contains(t, kinds, m[1], "%s: how does Temporal's CLI call this type?", m[2])
		want[m[2]] = kinds[m[1]]
	}
	require.NotEmpty(t, want)
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`--name (\w+) --type (\w+)`).FindAllStringSubmatch(page(t, "deploy/temporal-search-attributes.sh"), -1) {
		got[m[1]] = m[2]
	}
	assert.Equal(t, want, got)
}

func TestDeployScriptsAreRight(t *testing.T) {
	scripts, err := filepath.Glob("deploy/*.sh")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		info, err := os.Stat(script)
		require.NoError(t, err)
		assert.NotZero(t, info.Mode()&0o100, "%s can't be run", script)
		out, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput()
		assert.NoError(t, err, "%s: %s", script, out)
	}
}

func TestMakeSecretsWritesWhatComposeMounts(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "secrets")
	run := func() map[string]string {
		out, err := exec.CommandContext(t.Context(), "deploy/make-secrets.sh", folder).CombinedOutput()
		require.NoError(t, err, "%s", out)
		written := map[string]string{}
		for _, s := range compose(t).Secrets {
			path := filepath.Join(folder, filepath.Base(s.File))
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o444), info.Mode().Perm(), path)
			written[filepath.Base(path)] = string(raw)
		}
		return written
	}
	first := run()
	info, err := os.Stat(folder)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	for _, name := range []string{"postgres_password", "temporal_password", "muster_password"} {
		assert.Regexp(t, `^[0-9a-f]{64}$`, first[name], name)
	}
	assert.NotEqual(t, first["muster_password"], first["temporal_password"])
	assert.Equal(t, "postgres://muster:"+first["muster_password"]+"@postgres:5432/muster?sslmode=disable", first["muster_database_url"])
	assert.Equal(t, first, run(), "a second run must keep what is there")
}
