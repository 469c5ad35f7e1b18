"""What a machine without a cluster can say about what is applied to one: render it, check it, count it, roll it out.

`render` reads the kustomizations, every module of checks yields problems as sentences, `capacity` and `cost` add up
what the four nodes must hold and what they cost a month, `deploy` rolls out one function, `places` says in which file a
problem is, `tools` runs what others wrote (ansible-lint, Terraform) beside it. `python -m knative.check` is the way in
(`make check-cluster`, `render`, `deploy`, `rollback`).
"""
