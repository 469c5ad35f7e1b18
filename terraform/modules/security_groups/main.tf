locals {
  # What nodes say to nodes, and nothing else: every pod's traffic is inside the VXLAN.
  between_nodes = {
    vxlan           = { protocol = "udp", port = 4789, why = "Calico VXLAN" }
    kubelet         = { protocol = "tcp", port = 10250, why = "kubelet: logs, exec, metrics" }
    node_exporter   = { protocol = "tcp", port = 9100, why = "Prometheus: node exporter" }
    api_server      = { protocol = "tcp", port = 6443, why = "Kubernetes API" }
    unreachable_mtu = { protocol = "icmp", port = -1, why = "path MTU, ping" }
  }

  # Where a node may go outside: registries, model, AWS (443) and Ubuntu's archive (80). VPC DNS and time pass without a rule.
  outside = { https = 443, http = 80 }
}

# --- the load balancer: the only thing the world may talk to

resource "aws_security_group" "alb" {
  name_prefix = "${var.name}-alb-"
  description = "Load balancer: HTTPS from the world, to the NodePort of the gateway only"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-alb" }

  lifecycle { create_before_destroy = true }
}

resource "aws_vpc_security_group_ingress_rule" "alb_https" {
  security_group_id = aws_security_group.alb.id
  description       = "HTTPS from the world"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "alb_http" {
  security_group_id = aws_security_group.alb.id
  description       = "HTTP from the world, answered with a redirect to HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}

resource "aws_vpc_security_group_egress_rule" "alb_gateway" {
  security_group_id            = aws_security_group.alb.id
  description                  = "To the gateway on the nodes"
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_node_port
  to_port                      = var.gateway_node_port
}

# --- every node

resource "aws_security_group" "nodes" {
  name_prefix = "${var.name}-nodes-"
  description = "Nodes: ports of the cluster between them, NodePort of the gateway from the load balancer"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-nodes" }

  lifecycle { create_before_destroy = true }
}

resource "aws_vpc_security_group_ingress_rule" "between_nodes" {
  for_each = local.between_nodes

  security_group_id            = aws_security_group.nodes.id
  description                  = each.value.why
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "between_nodes" {
  for_each = local.between_nodes

  security_group_id            = aws_security_group.nodes.id
  description                  = each.value.why
  referenced_security_group_id = aws_security_group.nodes.id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "gateway" {
  security_group_id            = aws_security_group.nodes.id
  description                  = "NodePort of the gateway, from the load balancer only"
  referenced_security_group_id = aws_security_group.alb.id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_node_port
  to_port                      = var.gateway_node_port
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = var.admin_networks

  security_group_id = aws_security_group.nodes.id
  description       = "SSH from ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "outside" {
  for_each = local.outside

  security_group_id = aws_security_group.nodes.id
  description       = "To the internet: ${each.key}"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

# --- the control plane, in addition

resource "aws_security_group" "control_plane" {
  name_prefix = "${var.name}-control-plane-"
  description = "Control plane: the Kubernetes API for named networks"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-control-plane" }

  lifecycle { create_before_destroy = true }
}

resource "aws_vpc_security_group_ingress_rule" "api_server" {
  for_each = var.admin_networks

  security_group_id = aws_security_group.control_plane.id
  description       = "Kubernetes API from ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 6443
  to_port           = 6443
}
