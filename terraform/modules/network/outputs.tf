output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "subnet_ids" {
  description = "Availability zone → id of its public subnet."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }

  # A load balancer and an Elastic IP are refused as long as the VPC has no way out, and hold on to it when it is taken down.
  depends_on = [aws_route.internet, aws_route_table_association.public]
}
