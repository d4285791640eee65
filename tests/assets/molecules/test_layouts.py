"""Tables are recognised by their header."""

import pytest

from assets.molecules.layouts import LAYOUTS, LayoutError, recognise, require_column

_HEADERS = {
    "pi1m_v2": "SMILES,SA Score",
    "moses": "SMILES,SPLIT",
    "zinc_250k": "smiles,logP,qed,SAS",
    "qm9_4prop": "smiles,heat_capacity,band_gap,isotropic_polarizability,internal_energy_298K",
    "esol": "Compound ID,ESOL predicted log solubility in mols per litre,Minimum Degree,Molecular Weight,Number of H-Bond Donors,"
    "Number of Rings,Number of Rotatable Bonds,Polar Surface Area,measured log solubility in mols per litre,smiles",
    "freesolv": "iupac,smiles,expt,calc",
    "smipoly_polymers": "mon1,mon2,polym,polymer_class",
    "smipoly_monomers": "comID,MolecularFormula,MolecularWeight,SMILES,IUPACName",
    "open_polymer_2025": "id,SMILES,Tg,FFV,Tc,Density,Rg",
    "radonpy_pi1070": "monomer_ID,smiles,density,Rg,thermal_conductivity,Cp",
    "khazana": "smiles,value,index",
    "generic": "name,Canonical_SMILES,other",
}


@pytest.mark.parametrize(("name", "header"), _HEADERS.items())
def test_a_published_header_is_recognised(name, header):
    layout = recognise(header.split(","), stem="x")
    assert layout.name == name
    assert layout.smiles_column in header.split(",")


def test_pi1m_has_no_column_but_its_smiles():
    assert recognise(["SMILES"], stem="PI1M").smiles_column == "SMILES"


def test_the_khazana_sets_are_told_apart_by_their_file():
    assert {name: item.unit for name, item in recognise(["smiles", "value", "index"], stem="Egc").properties.items()} == {"band_gap_chain": "eV"}
    assert recognise(["smiles", "value", "index"], stem="Xc").properties["crystallization_tendency"].unit == "%"
    assert not recognise(["smiles", "value", "index"], stem="unknown").properties


def test_a_table_without_smiles_lists_its_columns_and_the_nearest():
    with pytest.raises(LayoutError, match=r"columns here: 'Smils', 'y' \(did you mean 'Smils'\?\); set `smiles_column`"):
        recognise(["Smils", "y"], stem="x")


def test_a_column_asked_for_by_a_wrong_name_is_named_with_the_parameter():
    with pytest.raises(LayoutError, match=r"no column 'smile' \(asked for by `smiles_column`\) \(did you mean 'smiles'\?\)"):
        require_column("smile", ["smiles", "y"], key="smiles_column")


def test_a_property_has_the_same_unit_in_every_layout():
    units = {}
    for layout in LAYOUTS:
        for name, item in layout.properties.items():
            assert units.setdefault(name, item.unit) == item.unit, name
