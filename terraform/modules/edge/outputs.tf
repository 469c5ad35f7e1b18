output "url" {
  description = "Where the app is."
  value       = "https://${aws_route53_record.app.name}"
}

output "load_balancer_dns_name" {
  description = "The load balancer's own name."
  value       = aws_lb.this.dns_name
}

output "target_group_arn" {
  description = "Target group of the gateway, for a TargetGroupBinding."
  value       = aws_lb_target_group.gateway.arn
}
