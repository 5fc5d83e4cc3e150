package config

import "regexp"

// registrationName is about how long the name of the socket in CSI.Registration is.
const registrationName = "/tenon.dev-reg.sock"

// validNode is what CSI's topology and a label of Kubernetes can say.
var validNode = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// checkCSI wants all that the endpoint needs, and nothing without one.
func (c Config) checkCSI() (errs []error) {
	csi := c.CSI
	if csi.Socket == "" {
		return []error{
			check(csi.Node == "", "csi_node: is of no use without csi_socket"),
			check(csi.Registration == "", "csi_registration: is of no use without csi_socket"),
			check(!csi.NodeExpansion, "csi_node_expansion: is of no use without csi_socket"),
		}
	}
	return []error{
		check(len(csi.Roots) > 0, "csi_roots: csi_socket needs at least one"),
		check(csi.Node == "" || validNode.MatchString(csi.Node), "csi_node: %q is not 1 to 63 letters, digits, \"-\", \"_\" and \".\", with a letter or digit at both ends", csi.Node),
		check(len(csi.Socket) <= maxSocket, "csi_socket: %s has %d bytes, a socket's path holds %d", csi.Socket, len(csi.Socket), maxSocket),
		check(len(csi.Registration)+len(registrationName) <= maxSocket, "csi_registration: %s leaves no room for a socket's name", csi.Registration),
	}
}
