package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"tenon/agent/resource"
	"tenon/agent/volume"
	"tenon/agent/wire"
)

// collector reads the newest version of the state at each scrape.
type collector struct{ agent Agent }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("tenon_"+name, help, labels, nil)
}

var (
	healthyDesc     = desc("healthy", "Whether the agent can do its work.")
	indexDesc       = desc("state_index", "Version of the state, grows while the agent runs.")
	tasksDesc       = desc("tasks", "Tasks that have or have claimed volumes.")
	attachmentsDesc = desc("attachments", "Uses of volumes by tasks.")
	faultsDesc      = desc("faults", "Disks, volumes, tasks and attachments that are not what they should be, by kind.", "unit", "kind")
	pendingDesc     = desc("operations_pending", "Operations with ids that are at work.")

	diskTotalDesc = desc("disk_total_bytes", "Space of a disk as configured.", "disk")
	diskFreeDesc  = desc("disk_unreserved_bytes", "Space of a disk that is reserved to nobody.", "disk")
	diskOpenDesc  = desc("disk_uncarved_bytes", "Space of a disk that no volume is made of.", "disk")
	diskUpDesc    = desc("disk_available", "Whether a disk is there.", "disk")
	diskHardDesc  = desc("disk_limits_enforced", "Whether a write beyond the size of a volume fails.", "disk")

	diskShortDesc = desc("disk_pressure", "Whether the file system of a disk has less room than its volumes may still take.", "disk")

	exceededDesc = desc("volumes_exceeded", "Volumes that hold more than their sizes.")
	measuredDesc = desc("volume_measured_timestamp_seconds", "When a volume was measured that the file system does not count.", "volume")
	overDesc     = desc("volume_exceeded", "Whether a volume holds more than its size, where that is measured.", "volume")
	volumesDesc  = desc("volumes", "Volumes by phase.", "phase")
	carvedDesc   = desc("volumes_size_bytes", "Sizes of all volumes together.")
	sizeDesc     = desc("volume_size_bytes", "Size of a volume, which is its limit.", "volume")
	usedDesc     = desc("volume_used_bytes", "What a volume takes of its disk, where the file system counts it or as it was measured.", "volume")
	holdersDesc  = desc("volume_holders", "Tasks that hold a volume.", "volume")
	groupsDesc   = desc("volume_gids", "Groups that shared volumes may be given.")
	freeGIDsDesc = desc("volume_gids_free", "Groups that shared volumes may be given, and that are nobody's.")
	unlistedDesc = desc("volumes_unlisted", "Volumes that have no series of their own because there are too many, or may not be seen.")
)

// Describe names no metric, since which there are depends on the state.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads one version.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.agent.State()
	g := gauges(out)
	g.set(healthyDesc, truth(c.agent.Health() == nil))
	g.set(indexDesc, float64(s.Version))
	g.set(tasksDesc, float64(s.CountTasks()))
	g.set(attachmentsDesc, float64(s.CountAttachments()))
	g.faults(s)
	g.operations(s)
	g.disks(s)
	g.volumes(s)
	g.groups(s)
}

// named reads the volumes that have series of their own, as far as they may be seen.
type named struct {
	agent Agent
	view  wire.View
}

// Describe names no metric, since which there are depends on the state.
func (n *named) Describe(chan<- *prometheus.Desc) {}

// Collect reads one version.
func (n *named) Collect(out chan<- prometheus.Metric) {
	s, g := n.agent.State(), gauges(out)
	var listed []*volume.Volume
	unlisted := 0
	for v := range s.Volumes(volume.Name{}) {
		if len(listed) == maxVolumes || !n.view.Volume(v) {
			unlisted++
			continue
		}
		listed = append(listed, v)
		g.set(sizeDesc, bytes(v.Size), v.Name.String())
		g.set(holdersDesc, float64(len(s.Holders(v.UUID))), v.Name.String())
	}
	g.set(unlistedDesc, float64(unlisted))
	g.used(n.agent, listed)
}

// used asks for what volumes take. What is not known has no series.
func (g gauges) used(a Agent, listed []*volume.Volume) {
	if len(listed) == 0 {
		return // none would be all
	}
	ids := make([]volume.UUID, len(listed))
	for i, v := range listed {
		ids[i] = v.UUID
	}
	used, _ := a.Usage(context.Background(), ids...) // what an error leaves out is not known
	for _, v := range listed {
		if u, counted := used[v.UUID]; counted {
			g.set(usedDesc, float64(u.Bytes), v.Name.String())
			if !u.Measured.IsZero() {
				g.set(measuredDesc, seconds(u.Measured), v.Name.String())
				g.set(overDesc, truth(v.Exceeded != nil), v.Name.String())
			}
		}
	}
}

// gauges is where the metrics of a scrape go.
type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, value float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

var unitNames = map[volume.UnitKind]string{
	volume.DiskUnit: "disk", volume.VolumeUnit: "volume", volume.TaskUnit: "task", volume.AttachmentUnit: "attachment",
}

func (g gauges) faults(s *volume.State) {
	type key struct{ unit, kind string }
	counts := map[key]int{}
	for u, f := range s.Faults() {
		counts[key{unitNames[u.Kind], wire.KindName(f.Kind)}]++
	}
	for k, n := range counts {
		g.set(faultsDesc, float64(n), k.unit, k.kind)
	}
}

// groups has no series where volumes are given none.
func (g gauges) groups(s *volume.State) {
	if total, free := s.CountGroups(); total > 0 {
		g.set(groupsDesc, float64(total))
		g.set(freeGIDsDesc, float64(free))
	}
}

func (g gauges) operations(s *volume.State) {
	n := 0
	for o := range s.Operations() {
		if o.State != volume.OperationPending {
			break // those at work come first
		}
		n++
	}
	g.set(pendingDesc, float64(n))
}

func (g gauges) disks(s *volume.State) {
	uncarved := map[string]resource.Scalar{}
	for a := range s.Accounts() {
		uncarved[a.Disk] += a.Free
	}
	for d := range s.Disks() {
		if d.Absent {
			continue
		}
		name := volume.DiskName(d.Key)
		_, bad := s.Fault(volume.UnitOfDisk(d.Key))
		g.set(diskTotalDesc, bytes(d.Total), name)
		g.set(diskFreeDesc, bytes(s.Free(d.Key, nil)), name)
		g.set(diskOpenDesc, bytes(uncarved[d.Key]), name)
		g.set(diskUpDesc, truth(!bad), name)
		g.set(diskShortDesc, truth(d.Pressure != nil), name)
		g.set(diskHardDesc, truth(d.Enforcement.Mode == volume.EnforcedHard), name)
	}
}

func (g gauges) volumes(s *volume.State) {
	phases := map[volume.Phase]int{volume.Creating: 0, volume.Ready: 0}
	var carved resource.Scalar
	for v := range s.Volumes(volume.Name{}) {
		phases[v.Phase]++
		carved += v.Size
	}
	live, all := s.CountVolumes()
	phases[volume.Destroying] = all - live
	for phase, n := range phases {
		g.set(volumesDesc, float64(n), string(phase))
	}
	g.set(carvedDesc, bytes(carved))
	g.set(exceededDesc, float64(s.CountExceeded()))
}

func bytes(n resource.Scalar) float64 { return float64(n.Bytes()) }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
