variable "region" {
  description = "AWS region."
  type        = string
  default     = "ap-northeast-2"
}

variable "state_bucket" {
  description = "Name of the bucket of Terraform's state, as examples/*.s3.tfbackend say it."
  type        = string
  default     = "growbin-terraform-state"
}

variable "zone_name" {
  description = "Domain of the app."
  type        = string
  default     = "growbin.app"
}
