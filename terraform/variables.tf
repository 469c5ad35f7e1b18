variable "environment" {
  description = "`dev` or `prod`: part of every name."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "ap-northeast-2"
}

variable "vpc_cidr" {
  description = "Address range of the VPC."
  type        = string
  default     = "10.0.0.0/16"
}

variable "subnets" {
  description = "Availability zone → address range of its public subnet."
  type        = map(string)
  default = {
    ap-northeast-2a = "10.0.1.0/24"
    ap-northeast-2b = "10.0.2.0/24"
    ap-northeast-2c = "10.0.3.0/24"
  }
}

variable "nodes" {
  description = "The nodes by name; tiers are control-plane, application, async and storage."
  type = map(object({
    tier          = string
    instance_type = string
    disk_gb       = number
    zone          = string
  }))
  default = {
    master   = { tier = "control-plane", instance_type = "t3.large", disk_gb = 80, zone = "ap-northeast-2a" }
    worker-1 = { tier = "application", instance_type = "t3.medium", disk_gb = 60, zone = "ap-northeast-2b" }
    worker-2 = { tier = "async", instance_type = "t3.medium", disk_gb = 60, zone = "ap-northeast-2c" }
    storage  = { tier = "storage", instance_type = "t3.large", disk_gb = 60, zone = "ap-northeast-2a" }
  }
}

variable "cpu_credits" {
  description = "`unlimited` (a busy node costs more) or `standard` (a busy node slows down to its baseline)."
  type        = string
  default     = "unlimited"
}

variable "ssh_public_key" {
  description = "Public half of the administrator's SSH key, one OpenSSH line."
  type        = string
}

variable "admin_networks" {
  description = "Who may reach SSH and the Kubernetes API: name → IPv4 range, none wider than /16."
  type        = map(string)
}

variable "zone_name" {
  description = "Public hosted zone, made by `bootstrap`."
  type        = string
  default     = "growbin.app"
}

variable "domain_name" {
  description = "The name of the app."
  type        = string
}

variable "gateway_node_port" {
  description = "NodePort of the cluster's gateway."
  type        = number
  default     = 30080
}

variable "gateway_health_path" {
  description = "What the gateway answers 200 to as long as it works."
  type        = string
  default     = "/healthz"
}

variable "gateway_nodes" {
  description = "Nodes that the load balancer talks to; empty where a TargetGroupBinding in the cluster registers them."
  type        = set(string)
  default     = ["worker-1", "worker-2"]
}

variable "photo_bucket" {
  description = "Name of the bucket of photos (S3_BUCKET of the functions)."
  type        = string
}

variable "backup_bucket" {
  description = "Name of the bucket of backups."
  type        = string
}

variable "upload_days" {
  description = "Days an original lives at most, a net below `recover`; more than the 7 in which a failure can be replayed."
  type        = number
  default     = 8
}

variable "photo_days" {
  description = "Days a copy lives at most, a net below `recover`; more than PHOTO_DAYS."
  type        = number
  default     = 100
}

variable "backup_days" {
  description = "Days a backup is kept."
  type        = number
  default     = 30
}

variable "alarm_email" {
  description = "Who is told when uploads end as dead letters: an address, which must confirm once; empty for nobody."
  type        = string
  default     = ""
}

variable "secrets" {
  description = "Names of the secrets that the cluster may read: Parameter Store, /growbin-<environment>/<secret>."
  type        = list(string)
  default = [
    "postgres", "redis", "openai", "jwt-private", "centres",
    "s3-presign", "s3-ingest", "s3-identify", "s3-grade", "s3-recover", "s3-source",
  ]
}

variable "protected" {
  description = "Whether nodes and load balancer refuse to be destroyed."
  type        = bool
  default     = true
}
