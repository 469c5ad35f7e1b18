variable "name" {
  description = "Name of the load balancer (at most 24 letters, digits and hyphens)."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "name must be 1 to 24 small letters, digits and hyphens: a target group's name has 32."
  }
}

variable "zone_name" {
  description = "Public hosted zone, which exists already (`bootstrap`)."
  type        = string
}

variable "domain_name" {
  description = "The name of the app: the zone's own or one below it."
  type        = string

  validation {
    condition     = var.domain_name == var.zone_name || endswith(var.domain_name, ".${var.zone_name}")
    error_message = "domain_name must be zone_name or end with it."
  }
}

variable "vpc_id" {
  description = "The VPC of the target group."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets of the load balancer, in at least two zones."
  type        = list(string)
}

variable "security_group_id" {
  description = "Group of the load balancer."
  type        = string
}

variable "gateway_node_port" {
  description = "NodePort of the cluster's gateway."
  type        = number
}

variable "gateway_health_path" {
  description = "What the gateway answers 200 to as long as it works."
  type        = string
}

variable "gateway_instances" {
  description = "Node name → instance id of the nodes that the load balancer talks to. Empty: a TargetGroupBinding registers them."
  type        = map(string)
}

variable "protected" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
}
