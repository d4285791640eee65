"""The property predictor: a judge for properties of molecules and polymers that RDKit cannot compute.

    from training.polymers.predictor import load_predictor
    predictor = load_predictor("data/property_predictor")
    predictions = predictor.predict([Chem.MolFromSmiles("CCO")])
    print(predictor.properties, predictions.mean, predictions.std, predictions.in_domain, predictions.why)

An ensemble of small networks over fingerprints and descriptors, with a spread that is calibrated on molecules held out, and a domain outside of which
it says that it does not know. What the networks are given needs rdkit, in training too: the one exception among the models of molecules.
"""

from training.polymers.predictor.model_folder import Predictions, Predictor, load_predictor, save_predictor

__all__ = ["Predictions", "Predictor", "load_predictor", "save_predictor"]
