output "hosts" {
  description = "Node name → what Ansible and the load balancer must know of it."
  value = {
    for name, node in aws_instance.this : name => {
      instance_id = node.id
      tier        = var.nodes[name].tier
      private_ip  = node.private_ip
      public_ip   = try(aws_eip.control_plane[name].public_ip, node.public_ip)
      zone        = node.availability_zone
    }
  }
}

output "api_address" {
  description = "Public address of the Kubernetes API."
  value       = one(values(aws_eip.control_plane)[*].public_ip)
}
