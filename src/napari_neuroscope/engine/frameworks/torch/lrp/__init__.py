"""Layer-wise relevance propagation, as a gradient through PyTorch's autograd graph.

`recorder` lets a forward pass make `nodes` of ours where a plain gradient would not carry relevance;
`rules` are how weighted layers share it out (Bach et al. 2015; Montavon et al. 2019); `graph_check`
refuses, by name, what no rule is known for; `relevance_pass` carries it back to the input. A rule
belongs into `rules`, an operation that needs one into `recorder`.
"""
