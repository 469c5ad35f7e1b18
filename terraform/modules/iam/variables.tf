variable "name" {
  description = "Prefix of every name, first part of every secret's name, and the tag `Cluster` of the nodes."
  type        = string
}

variable "region" {
  description = "Region of the nodes and secrets."
  type        = string
}

variable "account_id" {
  description = "The AWS account."
  type        = string
}

variable "photo_bucket_arn" {
  description = "Bucket of photos."
  type        = string
}

variable "backup_bucket_arn" {
  description = "Bucket of backups."
  type        = string
}

variable "upload_queue_arn" {
  description = "Queue that hears of uploads."
  type        = string
}

variable "target_group_arn" {
  description = "Target group of the gateway."
  type        = string
}

variable "secrets" {
  description = "Names of the secrets that the cluster may read: Parameter Store, /<name>/<secret>."
  type        = list(string)

  validation {
    condition     = length(var.secrets) > 0 && alltrue([for secret in var.secrets : can(regex("^[a-z0-9-]+$", secret))])
    error_message = "Secrets are named one by one: small letters, digits, hyphens; no wildcard."
  }
}
