variable "name" {
  description = "Prefix of every name, and the tag `Cluster` of every node."
  type        = string
}

variable "nodes" {
  description = "The nodes by name. `zone` is an availability zone of `subnet_ids`."
  type = map(object({
    tier          = string
    instance_type = string
    disk_gb       = number
    zone          = string
  }))

  validation {
    condition     = alltrue([for node in values(var.nodes) : contains(["control-plane", "application", "async", "storage"], node.tier)])
    error_message = "A node's tier is control-plane, application, async or storage."
  }

  validation {
    condition     = length([for node in values(var.nodes) : node if node.tier == "control-plane"]) == 1
    error_message = "There is exactly one control plane (kubeadm init makes it)."
  }
}

variable "subnet_ids" {
  description = "Availability zone → subnet."
  type        = map(string)
}

variable "nodes_group_id" {
  description = "Security group of every node."
  type        = string
}

variable "control_plane_group_id" {
  description = "Additional security group of the control plane."
  type        = string
}

variable "profiles" {
  description = "Tier → instance profile of its nodes; a tier without one can do nothing in AWS."
  type        = map(string)
}

variable "ssh_public_key" {
  description = "Public half of the administrator's SSH key, one OpenSSH line."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa) AAAA[0-9A-Za-z+/=]+", var.ssh_public_key))
    error_message = "ssh_public_key must be one OpenSSH line (ssh-ed25519 or ssh-rsa): the public half, never the private key."
  }
}

variable "cpu_credits" {
  description = "`unlimited` (a busy node costs more) or `standard` (a busy node slows down to its baseline)."
  type        = string

  validation {
    condition     = contains(["unlimited", "standard"], var.cpu_credits)
    error_message = "cpu_credits must be unlimited or standard."
  }
}

variable "protected" {
  description = "Whether the nodes refuse to be terminated."
  type        = bool
}
