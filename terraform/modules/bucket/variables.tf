variable "name" {
  description = "Name of the bucket, unique in the world."
  type        = string
}

variable "versioned" {
  description = "Whether what is deleted or written over is kept for `noncurrent_days`."
  type        = bool
}

variable "noncurrent_days" {
  description = "Days after which old versions are removed, where there are versions."
  type        = number
  default     = 30
}

variable "expire_days" {
  description = "Prefix → days after which objects under it are removed."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for prefix, days in var.expire_days : endswith(prefix, "/") && days >= 1])
    error_message = "A prefix ends with / and its objects live at least a day."
  }
}
