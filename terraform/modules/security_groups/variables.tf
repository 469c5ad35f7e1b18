variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "vpc_id" {
  description = "The VPC the groups belong to."
  type        = string
}

variable "gateway_node_port" {
  description = "NodePort of the cluster's gateway."
  type        = number

  validation {
    condition     = var.gateway_node_port >= 30000 && var.gateway_node_port <= 32767
    error_message = "gateway_node_port must be in Kubernetes' NodePort range, 30000 to 32767."
  }
}

variable "admin_networks" {
  description = "Who may reach SSH and the Kubernetes API: name → IPv4 range."
  type        = map(string)

  validation {
    condition     = alltrue([for name in keys(var.admin_networks) : can(regex("^[A-Za-z0-9 ._-]{1,60}$", name))])
    error_message = "The names stand in descriptions: letters, digits, spaces, dots, underscores and hyphens."
  }

  # A /8 of the world or its two halves are as open as 0.0.0.0/0.
  validation {
    condition = length(var.admin_networks) > 0 && alltrue([
      for range in values(var.admin_networks) : can(cidrhost(range, 0)) && try(tonumber(split("/", range)[1]) >= 16, false)
    ])
    error_message = "admin_networks must name at least one IPv4 range, none wider than /16 (0.0.0.0/0 least of all)."
  }
}
