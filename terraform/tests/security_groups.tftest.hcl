mock_provider "aws" {}

variables {
  name              = "growbin-test"
  vpc_id            = "vpc-0123456789abcdef0"
  gateway_node_port = 30080
  admin_networks    = { office = "203.0.113.10/32", home = "198.51.100.7/32" }
}

run "who_may_reach_what" {
  module {
    source = "./modules/security_groups"
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.ssh : "${rule.cidr_ipv4}:${rule.from_port}"]) == toset(["203.0.113.10/32:22", "198.51.100.7/32:22"])
    error_message = "SSH is open to the named networks only"
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.api_server : rule.cidr_ipv4]) == toset(values(var.admin_networks))
    error_message = "the API server is open to the named networks only"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.gateway.referenced_security_group_id == aws_security_group.alb.id && aws_vpc_security_group_ingress_rule.gateway.to_port == 30080
    error_message = "the NodePort is open to the load balancer only"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.between_nodes["vxlan"].ip_protocol == "udp" && aws_vpc_security_group_ingress_rule.between_nodes["vxlan"].from_port == 4789
    error_message = "VXLAN passes between nodes"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.between_nodes : rule.referenced_security_group_id == aws_security_group.nodes.id])
    error_message = "what nodes say to nodes comes from nodes"
  }
}

run "the_world_is_no_admin" {
  command = plan

  module {
    source = "./modules/security_groups"
  }

  variables {
    admin_networks = { everybody = "0.0.0.0/0" }
  }

  expect_failures = [var.admin_networks]
}

run "nor_is_half_of_it" {
  command = plan

  module {
    source = "./modules/security_groups"
  }

  variables {
    admin_networks = { low = "0.0.0.0/1", high = "128.0.0.0/1" }
  }

  expect_failures = [var.admin_networks]
}

run "nobody_is_not_enough" {
  command = plan

  module {
    source = "./modules/security_groups"
  }

  variables {
    admin_networks = {}
  }

  expect_failures = [var.admin_networks]
}

run "a_node_port_is_one" {
  command = plan

  module {
    source = "./modules/security_groups"
  }

  variables {
    gateway_node_port = 8080
  }

  expect_failures = [var.gateway_node_port]
}
