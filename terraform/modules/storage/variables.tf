variable "name" {
  description = "Prefix of every name."
  type        = string
}

variable "photo_bucket" {
  description = "Name of the bucket of photos (S3_BUCKET of the functions)."
  type        = string
}

variable "backup_bucket" {
  description = "Name of the bucket of backups."
  type        = string
}

variable "cors_origins" {
  description = "Origins whose pages may upload and show photos (CORS_ORIGINS of the functions)."
  type        = list(string)

  validation {
    condition     = alltrue([for origin in var.cors_origins : startswith(origin, "https://") && !strcontains(origin, "*")])
    error_message = "cors_origins must be exact https:// origins."
  }
}

variable "upload_days" {
  description = "Days an original lives at most. `recover` deletes it long before, but keeps those of our own failures for 7 days to replay them."
  type        = number

  validation {
    condition     = var.upload_days > 7
    error_message = "upload_days must be more than the 7 days in which a failed analysis can be replayed."
  }
}

variable "photo_days" {
  description = "Days a copy lives at most. `recover` deletes it after PHOTO_DAYS (90); this catches what it missed."
  type        = number

  validation {
    condition     = var.photo_days > 90
    error_message = "photo_days must be more than PHOTO_DAYS (90), whose deletion `recover` writes down."
  }
}

variable "backup_days" {
  description = "Days a backup is kept. Who leaves is in backups until then."
  type        = number
}

variable "alarm_email" {
  description = "Who is told of dead letters; empty for nobody."
  type        = string
}
