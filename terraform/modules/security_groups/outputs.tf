output "alb_id" {
  description = "Group of the load balancer."
  value       = aws_security_group.alb.id
}

output "nodes_id" {
  description = "Group of every node."
  value       = aws_security_group.nodes.id
}

output "control_plane_id" {
  description = "Additional group of the control plane."
  value       = aws_security_group.control_plane.id
}
