# nomad volume create volume.hcl
# Space for the role must be reserved on the node first: tenon reserve disk:10GiB --role web
id        = "greetings"
name      = "greetings"
type      = "csi"
plugin_id = "tenon"

capacity_min = "1GiB"
capacity_max = "1GiB"

capability {
  access_mode     = "single-node-writer"
  attachment_mode = "file-system"
}

topology_request {
  required {
    topology {
      segments {
        "topology.tenon.dev/node" = "node-1"
      }
    }
  }
}

parameters {
  role = "web"
  uid  = "1000"
  gid  = "1000"
  mode = "0770"
}
