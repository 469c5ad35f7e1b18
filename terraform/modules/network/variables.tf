variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "region" {
  description = "Region of the VPC; the S3 endpoint is named by it."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && !can(regex("^(192\\.168|10\\.(9[6-9]|10[0-9]|11[01]))\\.", var.cidr))
    error_message = "cidr must be an IPv4 range outside those of the pods (192.168.0.0/16) and services (10.96.0.0/12)."
  }
}

variable "subnets" {
  description = "Availability zone → address range of its public subnet."
  type        = map(string)

  validation {
    condition     = length(var.subnets) >= 2 && alltrue([for range in values(var.subnets) : can(cidrhost(range, 0))])
    error_message = "subnets must name at least two zones (the load balancer wants them), each with an IPv4 range."
  }
}
