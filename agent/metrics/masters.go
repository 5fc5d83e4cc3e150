package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tenon/agent/wire"
)

// masters asks how it stands with the masters at each scrape.
type masters func() []wire.Master

var (
	connectedDesc = desc("master_connected", "Whether a master was heard from, and not lost since.", "master")
	contactDesc   = desc("master_last_contact_timestamp_seconds", "When a master was heard from.", "master")
	restartsDesc  = desc("master_restarts_total", "How often the client of a master was started again.", "master")
)

// Describe names all that Collect may send.
func (m masters) Describe(out chan<- *prometheus.Desc) {
	out <- connectedDesc
	out <- contactDesc
	out <- restartsDesc
}

// Collect shows every master. One that was never heard from has no last contact.
func (m masters) Collect(out chan<- prometheus.Metric) {
	g := gauges(out)
	for _, status := range m() {
		g.set(connectedDesc, truth(status.Connected), status.Name)
		out <- prometheus.MustNewConstMetric(restartsDesc, prometheus.CounterValue, float64(status.Restarts), status.Name)
		if !status.LastContact.IsZero() {
			g.set(contactDesc, seconds(status.LastContact), status.Name)
		}
	}
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
