output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Availability zone → id of its public subnet."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
}
