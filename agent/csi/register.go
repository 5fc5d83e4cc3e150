package csi

import (
	"context"

	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// specification is the version of CSI that the kubelet is told.
const specification = "1.13.0"

// registrar answers the kubelet, which finds its socket in a directory that it watches
// (/var/lib/kubelet/plugins_registry), in place of a sidecar.
type registrar struct {
	registration.UnimplementedRegistrationServer
	s *Server
}

// GetInfo tells the kubelet which plugin there is, and at which socket.
func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: Driver, Endpoint: r.s.endpoint,
		SupportedVersions: []string{specification}}, nil
}

// NotifyRegistrationStatus is told how it ended, which goes to the log. The kubelet tries
// again by itself when it starts.
func (r registrar) NotifyRegistrationStatus(_ context.Context, st *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if st.GetPluginRegistered() {
		r.s.log.Info("registered with the kubelet", "socket", r.s.endpoint)
	} else {
		r.s.log.Error("not registered with the kubelet", "socket", r.s.endpoint, "reason", st.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
