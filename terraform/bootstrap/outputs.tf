output "state_bucket" {
  description = "Bucket for examples/*.s3.tfbackend."
  value       = module.state.name
}

output "name_servers" {
  description = "Enter these at the registrar of the domain before the environments are applied."
  value       = aws_route53_zone.this.name_servers
}
