package bench

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Report is what a run of the benchmark found. Its JSON is read by other programs: fields are added, never renamed.
type Report struct {
	Machine Machine `json:"machine"`
	Quick   bool    `json:"quick"`
	// Durable: the servers kept every commit on disk.
	Durable bool  `json:"durable"`
	Repeats int   `json:"repeats"`
	Rows    []Row `json:"rows"`
}

// Row is one comparison. Of the series those are there that the row has.
type Row struct {
	Key   string `json:"row"`
	Title string `json:"title"`
	// Unit is what the rates and the processor times are of.
	Unit string `json:"unit"`
	// Muster and Bare are rates, per second; Ratio is Muster / Bare, of the two runs that followed each other.
	Muster *Series `json:"muster,omitempty"`
	Bare   *Series `json:"bare,omitempty"`
	Ratio  *Series `json:"ratio,omitempty"`
	// P50 and P99 are in milliseconds.
	P50 *Series `json:"p50_ms,omitempty"`
	P99 *Series `json:"p99_ms,omitempty"`
	// Peak is the most memory of a process, in MiB.
	Peak *Series `json:"peak_mib,omitempty"`
	Goal string  `json:"goal"`
	Met  bool    `json:"met"`
	// MusterCPU and BareCPU are medians, in milliseconds of processor time per unit by process; without them the system
	// doesn't tell.
	MusterCPU map[string]float64 `json:"muster_cpu_ms,omitempty"`
	BareCPU   map[string]float64 `json:"bare_cpu_ms,omitempty"`
	// Error says why the row could not be measured.
	Error string `json:"error,omitempty"`

	least   float64 // of Ratio, to meet the goal; 0 for a row without one
	most    float64 // of P99
	measure func(context.Context, *stage, *Row) error
}

var rowKeys = []string{"a", "b", "c", "d", "e", "f", "g"}

// turns is the order in which rows are measured: Temporal works on the facts of f long afterwards.
var turns = []string{"a", "b", "c", "d", "e", "g", "f"}

var rows = map[string]Row{
	"a": {Title: "first fact to Enrolled, against a bare workflow", Unit: "device", Goal: "ratio ≥ 0.6", least: 0.6, measure: measureEnrolling},
	"b": {Title: "MDM check-ins, against bare nanomdm", Unit: "check-in", Goal: "ratio ≥ 0.7", least: 0.7, measure: measureCheckins},
	"c": {Title: "second fact to first command in the queue, at low load", Unit: "device", Goal: "p99 < 1000 ms", most: 1000, measure: measureLatency},
	"d": {Title: "facts through the relay, against bare SignalWithStart", Unit: "fact", Goal: "ratio ≥ 0.8", least: 0.8, measure: measureRelay},
	"e": {Title: "a file's rows validated, against encoding/csv and COPY", Unit: "row", Goal: "ratio ≥ 0.3, peak < 256 MiB", least: 0.3, measure: measureValidating},
	"f": {Title: "a file's rows applied, with single assignments meanwhile", Unit: "row", Goal: "100,000 in < 60 s, p99 < 1000 ms", most: 1000, measure: measureApplying},
	"g": {Title: "Apple's list of 100,000 devices fetched, with faults, against NanoDEP's client", Unit: "device", Goal: "each once, peak < 256 MiB", measure: measureListing},
}

// Series is a value measured several times.
type Series struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Runs   []float64 `json:"runs"`
}

func seriesOf(runs []float64) *Series {
	return &Series{Median: median(runs), Min: slices.Min(runs), Max: slices.Max(runs), Runs: runs}
}

func median(values []float64) float64 {
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[float64])
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// run is one measured run of one half of a pair.
type run struct {
	units   int
	elapsed time.Duration
	cpu     map[string]time.Duration
}

func (r run) rate() float64 { return float64(r.units) / r.elapsed.Seconds() }

// pair takes two halves' runs into the row.
func (r *Row) pair(muster, bare []run) {
	var ours, theirs, ratios []float64
	for i := range muster {
		ours, theirs = append(ours, muster[i].rate()), append(theirs, bare[i].rate())
		ratios = append(ratios, muster[i].rate()/bare[i].rate())
	}
	r.Muster, r.Bare, r.Ratio = seriesOf(ours), seriesOf(theirs), seriesOf(ratios)
	r.MusterCPU, r.BareCPU = perUnit(muster), perUnit(bare)
	r.Met = r.Ratio.Median >= r.least
}

// perUnit is the median over the runs of each process's time per unit, in milliseconds.
func perUnit(runs []run) map[string]float64 {
	all := map[string][]float64{}
	for _, r := range runs {
		for name, spent := range r.cpu {
			all[name] = append(all[name], float64(spent)/float64(time.Millisecond)/float64(r.units))
		}
	}
	medians := map[string]float64{}
	for name, values := range all {
		medians[name] = median(values)
	}
	return medians
}

func (r Report) unmeasured() []string {
	var keys []string
	for _, row := range r.Rows {
		if row.Error != "" {
			keys = append(keys, row.Key)
		}
	}
	return keys
}

// half carries out the n-th run of one half of a pair.
type half func(ctx context.Context, n int) (run, error)

// takeTurns runs both halves of a pair so many times; which comes first changes, so that neither always meets what the
// other left behind.
func (s *stage) takeTurns(ctx context.Context, muster, bare half) (ours, theirs []run, err error) {
	for n := range s.repeats {
		turns := []half{muster, bare}
		if n%2 == 1 {
			slices.Reverse(turns)
		}
		results := make([]run, len(turns))
		for i, turn := range turns {
			if results[i], err = turn(ctx, n); err != nil {
				return nil, nil, err
			}
		}
		if n%2 == 1 {
			slices.Reverse(results)
		}
		ours, theirs = append(ours, results[0]), append(theirs, results[1])
		s.say(progress(n, results[0], results[1]))
	}
	return ours, theirs, nil
}
