import torch
from torch import nn

from calipers.core.digests import digest_json, digest_module, digest_tensors
from calipers.core.seeds import derive_seed, generator


def test_seeds_depend_on_every_name_and_nothing_else() -> None:
    assert derive_seed(0, "pgd", 3) == derive_seed(0, "pgd", 3)
    assert (
        len({derive_seed(0, "pgd", 3), derive_seed(1, "pgd", 3), derive_seed(0, "pgd", 4), derive_seed(0, "p", "gd3")})
        == 4
    )
    assert torch.equal(torch.rand(3, generator=generator(5)), torch.rand(3, generator=generator(5)))


def test_digests_see_values_types_and_architecture() -> None:
    one = torch.ones(2)
    assert digest_tensors([("a", one)]) != digest_tensors([("a", one.double())])
    assert digest_tensors([("a", one)]) != digest_tensors([("b", one)])
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert digest_module(net) != digest_module(nn.Sequential(net[0], nn.Tanh()))
    assert digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
